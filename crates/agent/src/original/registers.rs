//! The ten registers that the original knows.

/// Their names, in the order of their numbers.
const NAMES: [&str; 10] =
    ["Vac1", "Iac1", "Fac1", "Vpv1", "Vpv2", "Ipv1", "Ipv2", "Temp", "Pow", "Pac"];

/// All of them.
pub(super) fn all() -> Vec<u8> {
    (0..).take(NAMES.len()).collect()
}

pub(super) fn name(register: u8) -> &'static str {
    NAMES.get(usize::from(register)).copied().unwrap_or_default()
}

/// Returns the number of a register.
pub(super) fn number(name: &str) -> Option<u8> {
    let place = NAMES.iter().position(|known| *known == name)?;
    u8::try_from(place).ok()
}
