//! The settings that a device has reported.

use ecowatt_envelope::{LinkKeys, MESSAGE_MAX, UnverifiedUplink};
use ecowatt_model::ConfigGeneration;
use ecowatt_wire::Uplink;

/// The generations that a device's messages have reported.
#[derive(Default)]
pub(crate) struct Reports {
    highest: ConfigGeneration,
    /// Reported by the current message.
    current: Option<ConfigGeneration>,
    /// The highest one in a message that the server has answered, and thus stored.
    answered: ConfigGeneration,
}

impl Reports {
    /// Checks a message that is sent: its generation must not be below an earlier one.
    pub(crate) fn sent(&mut self, keys: &LinkKeys, message: &[u8]) -> Result<(), String> {
        let mut plain = vec![0; MESSAGE_MAX];
        let sealed = UnverifiedUplink::parse(message).map_err(|error| error.to_string())?;
        let plain = sealed.open(keys, &mut plain).map_err(|error| error.to_string())?;
        let uplink = Uplink::parse(plain).map_err(|error| error.to_string())?;
        self.current = uplink.reported().map(|reported| reported.generation);
        let Some(generation) = self.current else { return Ok(()) };
        if generation < self.highest {
            return Err(format!("generation {generation} is reported after {}", self.highest));
        }
        self.highest = generation;
        Ok(())
    }

    /// Notes that the server has answered the current message.
    pub(crate) fn answered(&mut self) {
        self.answered = self.answered.max(self.current.take().unwrap_or_default());
    }

    /// Returns the highest generation that the server has acknowledged.
    pub(crate) fn acknowledged(&self) -> ConfigGeneration {
        self.answered
    }
}
