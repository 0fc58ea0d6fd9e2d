//! The states of a device's inverters as its messages have reported them.

use ecowatt_envelope::{LinkKeys, MESSAGE_MAX, UnverifiedUplink};
use ecowatt_model::SourceNumber;
use ecowatt_wire::{SourceState, Uplink};

/// Inverters and their states.
type All = Vec<(SourceNumber, SourceState)>;

/// The states that the server has for one epoch, and those that the current message reports.
#[derive(Default)]
pub(crate) struct States {
    known: Option<All>,
    /// Reported by the current message.
    reported: Option<All>,
}

impl States {
    /// Checks a message that is sent while the inverters are as in `present`. It must report that,
    /// unless the server has answered a message that did.
    pub(crate) fn sent(
        &mut self,
        keys: &LinkKeys,
        message: &[u8],
        present: All,
    ) -> Result<(), String> {
        let mut plain = vec![0; MESSAGE_MAX];
        let sealed = UnverifiedUplink::parse(message).map_err(|error| error.to_string())?;
        let plain = sealed.open(keys, &mut plain).map_err(|error| error.to_string())?;
        let uplink = Uplink::parse(plain).map_err(|error| error.to_string())?;
        self.reported = uplink.status().map(|status| {
            status.sources.iter().map(|source| (source.source, source.state)).collect()
        });
        match self.reported.as_ref().or(self.known.as_ref()) {
            Some(shown) if *shown == present => Ok(()),
            shown => Err(format!("inverters are {present:?}, the server is left with {shown:?}")),
        }
    }

    /// Notes that the server has answered the current message.
    pub(crate) fn answered(&mut self) {
        if let Some(reported) = self.reported.take() {
            self.known = Some(reported);
        }
    }
}
