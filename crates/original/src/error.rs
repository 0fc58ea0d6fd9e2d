//! Why a packet cannot be restored exactly.

/// Why a packet cannot be restored exactly. Nothing of such a packet may be stored as a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    #[error("the packet ends after {0} bytes")]
    Truncated(usize),
    #[error("the packet goes on after its last value")]
    Trailing,
    #[error("no form of packets begins with the byte {0:#04x}")]
    UnknownMarker(u8),
    #[error("the packet names {found} values, modulo 256, instead of {expected}")]
    Count { found: u8, expected: usize },
    #[error("values of {0} bits do not exist")]
    Width(u8),
    #[error("a code names none of the packet's values")]
    Index,
    #[error("the packet is of other registers than its description")]
    Registers,
    #[error("the semantic form does not hold the exact values")]
    Lossy,
    #[error("a delta counts from packets that were not received")]
    NoHistory,
    #[error("a value is not a whole number of 16 bits")]
    NotARegister,
    #[error("a packet has whole samples of at least one register")]
    Shape,
}
