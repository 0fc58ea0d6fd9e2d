//! How a device's inverters are, as far as its messages have told.

use ecowatt_envelope::{LinkKeys, MESSAGE_MAX, Sealed};
use ecowatt_model::SourceNumber;
use ecowatt_wire::{SourceState, Uplink};

/// Inverters and how they are.
type All = Vec<(SourceNumber, SourceState)>;

/// What the server knows of the inverters of one epoch, and what it will know.
#[derive(Default)]
pub(super) struct States {
    known: Option<All>,
    /// In the message under way.
    told: Option<All>,
}

impl States {
    /// A message goes out while the inverters are as `present` says. It tells that, unless the server
    /// has answered a message that did.
    pub(super) fn sent(
        &mut self,
        keys: &LinkKeys,
        message: &[u8],
        present: All,
    ) -> Result<(), String> {
        let mut plain = vec![0; MESSAGE_MAX];
        let sealed = Sealed::parse(message).map_err(|error| error.to_string())?;
        let plain = sealed.open(keys, &mut plain).map_err(|error| error.to_string())?;
        let uplink = Uplink::parse(plain).map_err(|error| error.to_string())?;
        self.told = uplink.status().map(|status| {
            status.sources.iter().map(|source| (source.source, source.state)).collect()
        });
        match self.told.as_ref().or(self.known.as_ref()) {
            Some(shown) if *shown == present => Ok(()),
            shown => Err(format!("inverters are {present:?}, the server is left with {shown:?}")),
        }
    }

    /// The server has answered the message under way.
    pub(super) fn answered(&mut self) {
        if let Some(told) = self.told.take() {
            self.known = Some(told);
        }
    }
}
