//! What a command says of an inverter's limit.
//!
//! Nothing of the product is used: neither its profiles nor its arithmetic.

use ecowatt_store::CommandOrder;

use super::orders::kind;

/// The limit of one inverter: its register, and what a count of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitRule {
    pub(crate) address: u16,
    /// Tenths of a percent that a count stands for.
    pub(crate) tenths: u16,
    pub(crate) rated_w: u32,
}

/// The limit that an inverter has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldLimit {
    /// Tenths of a percent of its rated power.
    pub(crate) tenths: u16,
    /// How often it has lost its power, which resets the limit.
    pub(crate) reboots: u64,
}

impl LimitRule {
    /// Returns the limit that an inverter has once it has obeyed, in tenths of a percent; `None` if the
    /// order does not set it, or sets one that the register cannot hold.
    pub(crate) fn ordered(&self, order: &CommandOrder) -> Option<u16> {
        let (name, value) = order.arguments.split_once('=')?;
        let grain = u32::from(self.tenths);
        let tenths = match order.kind {
            kind::SET_POWER_PERCENTAGE => tenths(value)?,
            kind::WRITE if name == "control.p_limit" => tenths(value)?,
            kind::SET_POWER => {
                let watts: u64 = value.parse().ok()?;
                let all = u64::from(self.rated_w.max(1)) * u64::from(grain);
                // Rounded down to what the register holds.
                let counts = (1_000 * watts / all).min(u64::from(1_000 / grain));
                u32::try_from(counts).ok()? * grain
            }
            kind::WRITE_REGISTER => {
                let (address, count) = value.split_once(" value=")?;
                let is_its = address.parse() == Ok(self.address);
                count.parse::<u32>().ok().filter(|_| is_its)? * grain
            }
            _ => return None,
        };
        u16::try_from(tenths).ok()
    }
}

/// Writes thousandths as a percentage, as the server keeps it.
pub(crate) fn percent(permille: u16) -> String {
    match permille % 10 {
        0 => format!("{}", permille / 10),
        part => format!("{}.{part}", permille / 10),
    }
}

/// Parses a percentage with at most one decimal.
fn tenths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    Some(whole.parse::<u32>().ok()? * 10 + part.parse::<u32>().ok().filter(|part| *part < 10)?)
}

#[cfg(test)]
mod tests {
    use ecowatt_model::SourceNumber;

    use super::*;

    #[test]
    fn orders_of_all_kinds_say_what_the_limit_is() {
        let ordered = |tenths, kind, arguments: &str| {
            let rule = LimitRule { address: 8, tenths, rated_w: 5_000 };
            let source = Some(SourceNumber(0));
            rule.ordered(&CommandOrder { kind, arguments: arguments.into(), source })
        };
        assert_eq!(ordered(1, kind::SET_POWER_PERCENTAGE, "percent=60.5"), Some(605));
        assert_eq!(ordered(10, kind::SET_POWER_PERCENTAGE, "percent=60"), Some(600));
        assert_eq!(ordered(1, kind::SET_POWER, "watts=2503"), Some(500));
        assert_eq!(ordered(10, kind::SET_POWER, "watts=2549"), Some(500));
        assert_eq!(ordered(10, kind::SET_POWER, "watts=9999"), Some(1_000));
        assert_eq!(ordered(10, kind::WRITE, "control.p_limit=7"), Some(70));
        assert_eq!(ordered(10, kind::WRITE, "control.limit_on=1"), None);
        assert_eq!(ordered(10, kind::WRITE_REGISTER, "address=8 value=9"), Some(90));
        assert_eq!(ordered(10, kind::WRITE_REGISTER, "address=9 value=9"), None);
    }
}
