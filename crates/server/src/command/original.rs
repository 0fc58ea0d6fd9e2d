//! Commands as devices of the earlier EcoWatt execute them.

use ecowatt_profile::Scaled;
use ecowatt_store::CommandOrder;

use super::argument_text::pairs;

/// The register with the limit of an inverter's power, in percent.
const LIMIT_REGISTER: u16 = 8;

/// The point of that register.
const LIMIT_POINT: &str = "control.p_limit";

/// What such a device can do. It takes whole numbers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OriginalAction {
    /// Limits the power to watts, of which it takes 10,000 for all.
    SetPower(u32),
    SetPowerPercentage(u8),
    WriteRegister {
        address: u16,
        value: u16,
    },
}

impl OriginalAction {
    /// Translates a command; `None` if the device has nothing like it.
    pub(crate) fn of(order: &CommandOrder) -> Option<Self> {
        let text = |name: &str| {
            pairs(&order.arguments).find(|(held, _)| *held == name).map(|(_, value)| value)
        };
        match order.kind {
            1 => {
                let value: Scaled = text(LIMIT_POINT)?.parse().ok()?;
                percent(value.rescale(0)?)
            }
            2 => Some(Self::WriteRegister {
                address: text("address")?.parse().ok()?,
                value: text("value")?.parse().ok()?,
            }),
            // Tenths of a percent are beyond it.
            4 => percent(text("percent")?.parse().ok()?),
            5 => Some(Self::SetPower(text("watts")?.parse().ok()?)),
            _ => None,
        }
    }

    /// Returns the name of the kind of command that has it done, with its arguments.
    pub(crate) fn kind(self) -> (&'static str, Vec<(&'static str, String)>) {
        match self {
            Self::SetPower(watts) => ("set_power", vec![("watts", watts.to_string())]),
            Self::SetPowerPercentage(percent) => {
                ("set_power_percentage", vec![("percent", percent.to_string())])
            }
            // What the register takes needs no right to go past the profile.
            Self::WriteRegister { address: LIMIT_REGISTER, value } if value <= 100 => {
                ("set_power_percentage", vec![("percent", value.to_string())])
            }
            Self::WriteRegister { address, value } => {
                let arguments =
                    vec![("address", address.to_string()), ("value", value.to_string())];
                ("write_register", arguments)
            }
        }
    }
}

fn percent(value: i64) -> Option<OriginalAction> {
    let percent = u8::try_from(value).ok().filter(|percent| *percent <= 100);
    percent.map(OriginalAction::SetPowerPercentage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_device_can_do_is_translated() {
        let of = |kind, arguments: &str| {
            let order = CommandOrder { kind, arguments: arguments.into(), source: None };
            OriginalAction::of(&order)
        };
        assert_eq!(of(5, "watts=3000"), Some(OriginalAction::SetPower(3000)));
        assert_eq!(of(4, "percent=50"), Some(OriginalAction::SetPowerPercentage(50)));
        assert_eq!(of(4, "percent=50.5"), None);
        assert_eq!(of(1, "control.p_limit=7"), Some(OriginalAction::SetPowerPercentage(7)));
        assert_eq!(of(1, "control.p_limit=101"), None);
        assert_eq!(of(1, "ac.power=7"), None);
        let write = OriginalAction::WriteRegister { address: 3, value: 65_535 };
        assert_eq!(of(2, "address=3 value=65535"), Some(write));
        for kind in [3, 6, 7, 8, 9, 10, 11] {
            assert_eq!(of(kind, "address=1 count=1 table=holding"), None);
        }
    }
}
