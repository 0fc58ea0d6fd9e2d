//! What commands from the server may do, by the agent's own configuration.

use ecowatt_device::Permissions;
use serde::Deserialize;

/// The table `[commands]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, expecting = "a table, such as [commands], with its keys")]
pub(super) struct Commands {
    pub(super) reboot: Option<Vec<String>>,
    pub(super) read_only: Option<bool>,
}

/// What the device's owner allows its server to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permits {
    /// Program and arguments that restart the machine; the server cannot restart it without them.
    pub reboot: Option<Vec<String>>,
    /// No command writes to an inverter; only this file can change that.
    pub read_only: bool,
}

impl Permits {
    pub(crate) fn permissions(&self) -> Permissions {
        Permissions { reboot: self.reboot.is_some(), writes: !self.read_only }
    }
}
