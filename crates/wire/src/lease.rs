//! Leases: limits that hold for a time, and the changes that they made at inverters.

use ecowatt_model::lease::LEASES_MAX;
use ecowatt_model::{BootEpoch, LeaseGeneration, LeaseId, MonoMs, SourceNumber, UnixMs};
use minicbor::Decoder;

use crate::command::CommandFailure;
use crate::encoding::{
    CODE_LEN_MAX, CursorEncoder, DecodeError, EncodeError, HEAD_LEN, Item, KEY_LEN, U8_LEN_MAX,
    U16_LEN_MAX, U32_LEN_MAX, U64_LEN_MAX, array, or_null, read_list, skip,
};
use crate::list::SectionList;

/// Maximum number of changes in an uplink.
pub const CHANGES_MAX: usize = 4;

/// A limit of active power: `[unit, value]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Thousandths of the inverter's rated power.
    Permille(u16),
    Watts(u32),
    /// In a unit of a later version, or more thousandths than there can be.
    Unknown,
}

/// A limit that holds for a time: `[id, source or null, limit, from, to, ramp, link loss, then or
/// null, priority]`, times in Unix seconds, durations in seconds.
///
/// It lasts from `from` to before `to`. Of all leases that last, the lowest limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub id: LeaseId,
    /// The inverter; all if absent.
    pub source: Option<SourceNumber>,
    pub limit: Limit,
    pub from_s: u32,
    pub to_s: u32,
    /// How long the limit takes to fall from full power at the beginning, and to rise at the end.
    pub ramp_s: u16,
    /// How long the server may be silent before `then` holds.
    pub link_loss_s: u16,
    /// What holds after `to` until the lease is released, and while the server is silent or the time
    /// is not known. Without it, what was found before the first lease is restored after `to`, and
    /// silence changes nothing.
    pub then: Option<Limit>,
    /// Of two equal limits, the one of the lease with the higher priority is reported.
    pub priority: u8,
}

/// The leases that a device should have: `[generation, [*leases]]`, complete.
#[derive(Debug, Clone, Copy)]
pub struct DesiredLeases<'a> {
    pub generation: LeaseGeneration,
    /// At most [`LEASES_MAX`].
    pub leases: SectionList<'a, Lease>,
}

/// Why a device refuses a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LeaseRefusal {
    /// A reason that the reader does not know.
    Other = 0,
    /// Not within the bounds of [`ecowatt_model::lease`].
    OutOfBounds = 1,
    /// There is no such source.
    NoSource = 2,
    /// The device has no room for another lease.
    TooMany = 3,
}

/// A lease that the device refuses: `[id, reason]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedLease {
    pub id: LeaseId,
    pub reason: LeaseRefusal,
}

/// Why the limit of an inverter changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LeaseCause {
    /// A cause that the reader does not know.
    Unknown = 0,
    /// A lease lasts.
    Lease = 1,
    /// The server is silent, or the time is not known.
    Fallback = 2,
    /// What holds after a lease.
    Afterwards = 3,
    /// No lease is left: what was found before was restored.
    Released = 4,
}

/// A change of an inverter's limit, and what was measured of it: `[source, epoch, monotonic ms, at,
/// lease, cause, limit, failure, detail, confirmed after ms, power, power after ms]`.
///
/// Source, epoch and monotonic time name it: it may be sent again and counts once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitChange {
    pub source: SourceNumber,
    pub epoch: BootEpoch,
    /// When the change began.
    pub mono: MonoMs,
    /// The same by the time of day, if the device knows it.
    pub at: Option<UnixMs>,
    /// The lease whose limit it is; absent once all are released.
    pub lease: Option<LeaseId>,
    pub cause: LeaseCause,
    /// Millionths of the rated power that were ordered; absent if there is no limit.
    pub limit_ppm: Option<u32>,
    /// Why the inverter does not have it, and a number that belongs to the reason.
    pub failure: CommandFailure,
    pub detail: u16,
    /// Milliseconds until the inverter showed the limit when it was read back.
    pub confirmed_ms: Option<u32>,
    /// The power measured after that, in watts, and milliseconds from the beginning.
    pub power_w: Option<i32>,
    pub power_ms: Option<u32>,
}

/// A device's leases: `[generation, [*refused], [*changes]]`.
#[derive(Debug, Clone, Copy)]
pub struct ReportedLeases<'a> {
    /// The newest generation that the device holds.
    pub generation: LeaseGeneration,
    /// At most [`LEASES_MAX`].
    pub refused: SectionList<'a, RefusedLease>,
    /// At most [`CHANGES_MAX`].
    pub changes: SectionList<'a, LimitChange>,
}

impl LeaseRefusal {
    const ALL: [Self; 4] = [Self::Other, Self::OutOfBounds, Self::NoSource, Self::TooMany];

    /// The reason with this code on the wire.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Other)
    }
}

impl LeaseCause {
    const ALL: [Self; 5] =
        [Self::Unknown, Self::Lease, Self::Fallback, Self::Afterwards, Self::Released];

    /// The cause with this code on the wire.
    #[must_use]
    pub fn from_code(code: u8) -> Self {
        Self::ALL.get(usize::from(code)).copied().unwrap_or(Self::Unknown)
    }
}

impl Limit {
    const LEN_MAX: usize = HEAD_LEN + CODE_LEN_MAX + U32_LEN_MAX;

    /// The limit in this unit.
    #[must_use]
    pub fn from_parts(unit: u8, value: u32) -> Self {
        match (unit, u16::try_from(value)) {
            (0, Ok(permille)) => Self::Permille(permille),
            (1, _) => Self::Watts(value),
            _ => Self::Unknown,
        }
    }

    /// Its unit and value.
    #[must_use]
    pub fn to_parts(self) -> (u8, u32) {
        match self {
            Self::Permille(permille) => (0, permille.into()),
            Self::Watts(watts) => (1, watts),
            Self::Unknown => (23, 0),
        }
    }

    fn encode(self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        let (unit, value) = self.to_parts();
        encoder.array(2)?.u8(unit)?.u32(value).map(drop)
    }

    fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let more = array(decoder, 2)?;
        let limit = Self::from_parts(decoder.u8()?, decoder.u32()?);
        skip(decoder, more)?;
        Ok(limit)
    }
}

impl Lease {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN
        + U32_LEN_MAX
        + U8_LEN_MAX
        + Limit::LEN_MAX
        + 2 * U32_LEN_MAX
        + 2 * U16_LEN_MAX
        + Limit::LEN_MAX
        + U8_LEN_MAX;
}

impl<'a> DesiredLeases<'a> {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN + U32_LEN_MAX + HEAD_LEN + LEASES_MAX * Lease::LEN_MAX;

    pub(crate) fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(2)?.u32(self.generation.0)?;
        self.leases.encode(encoder)
    }

    pub(crate) fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 2)?;
        let generation = LeaseGeneration(decoder.u32()?);
        let leases = SectionList::Parsed(read_list(decoder)?);
        skip(decoder, more)?;
        Ok(Self { generation, leases })
    }
}

impl RefusedLease {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN + U32_LEN_MAX + CODE_LEN_MAX;
}

impl LimitChange {
    /// Maximum number of bytes.
    pub const LEN_MAX: usize = HEAD_LEN
        + U8_LEN_MAX
        + U32_LEN_MAX
        + 2 * U64_LEN_MAX
        + U32_LEN_MAX
        + CODE_LEN_MAX
        + U32_LEN_MAX
        + CODE_LEN_MAX
        + U16_LEN_MAX
        + 3 * U32_LEN_MAX;
}

/// Maximum length in bytes of the section with this many refused leases and changes.
#[must_use]
pub const fn reported_leases_len_max(refused: usize, changes: usize) -> usize {
    let lists = refused * RefusedLease::LEN_MAX + changes * LimitChange::LEN_MAX;
    KEY_LEN + HEAD_LEN + U32_LEN_MAX + 2 * HEAD_LEN + lists
}

impl<'a> ReportedLeases<'a> {
    pub(crate) fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(3)?.u32(self.generation.0)?;
        self.refused.encode(encoder)?;
        self.changes.encode(encoder)
    }

    pub(crate) fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 3)?;
        let generation = LeaseGeneration(decoder.u32()?);
        let refused = SectionList::Parsed(read_list(decoder)?);
        let changes = SectionList::Parsed(read_list(decoder)?);
        skip(decoder, more)?;
        Ok(Self { generation, refused, changes })
    }
}

/// Writes a value, or null for an absent one.
fn optional<T>(
    encoder: &mut CursorEncoder<'_>,
    value: Option<T>,
    encode: impl FnOnce(&mut CursorEncoder<'_>, T) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    match value {
        Some(value) => encode(encoder, value),
        None => encoder.null().map(drop),
    }
}

impl<'a> Item<'a> for Lease {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(9)?.u32(self.id.0)?;
        optional(encoder, self.source, |encoder, source| encoder.u8(source.0).map(drop))?;
        self.limit.encode(encoder)?;
        encoder.u32(self.from_s)?.u32(self.to_s)?.u16(self.ramp_s)?.u16(self.link_loss_s)?;
        optional(encoder, self.then, |encoder, then| then.encode(encoder))?;
        encoder.u8(self.priority).map(drop)
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 9)?;
        let lease = Self {
            id: LeaseId(decoder.u32()?),
            source: or_null(decoder, Decoder::u8)?.map(SourceNumber),
            limit: Limit::decode(decoder)?,
            from_s: decoder.u32()?,
            to_s: decoder.u32()?,
            ramp_s: decoder.u16()?,
            link_loss_s: decoder.u16()?,
            then: or_null(decoder, Limit::decode)?,
            priority: decoder.u8()?,
        };
        skip(decoder, more)?;
        Ok(lease)
    }
}

impl<'a> Item<'a> for RefusedLease {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(2)?.u32(self.id.0)?.u8(self.reason as u8).map(drop)
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 2)?;
        let id = LeaseId(decoder.u32()?);
        let reason = LeaseRefusal::from_code(decoder.u8()?);
        skip(decoder, more)?;
        Ok(Self { id, reason })
    }
}

impl<'a> Item<'a> for LimitChange {
    fn encode(&self, encoder: &mut CursorEncoder<'_>) -> Result<(), EncodeError> {
        encoder.array(12)?.u8(self.source.0)?.u32(self.epoch.0)?.u64(self.mono.0)?;
        optional(encoder, self.at, |encoder, at| encoder.i64(at.0).map(drop))?;
        optional(encoder, self.lease, |encoder, lease| encoder.u32(lease.0).map(drop))?;
        encoder.u8(self.cause as u8)?;
        optional(encoder, self.limit_ppm, |encoder, ppm| encoder.u32(ppm).map(drop))?;
        encoder.u8(self.failure as u8)?.u16(self.detail)?;
        optional(encoder, self.confirmed_ms, |encoder, ms| encoder.u32(ms).map(drop))?;
        optional(encoder, self.power_w, |encoder, watts| encoder.i32(watts).map(drop))?;
        optional(encoder, self.power_ms, |encoder, ms| encoder.u32(ms).map(drop))
    }

    fn decode(decoder: &mut Decoder<'a>) -> Result<Self, DecodeError> {
        let more = array(decoder, 12)?;
        let change = Self {
            source: SourceNumber(decoder.u8()?),
            epoch: BootEpoch(decoder.u32()?),
            mono: MonoMs(decoder.u64()?),
            at: or_null(decoder, Decoder::i64)?.map(UnixMs),
            lease: or_null(decoder, Decoder::u32)?.map(LeaseId),
            cause: LeaseCause::from_code(decoder.u8()?),
            limit_ppm: or_null(decoder, Decoder::u32)?,
            failure: CommandFailure::from_code(decoder.u8()?),
            detail: decoder.u16()?,
            confirmed_ms: or_null(decoder, Decoder::u32)?,
            power_w: or_null(decoder, Decoder::i32)?,
            power_ms: or_null(decoder, Decoder::u32)?,
        };
        skip(decoder, more)?;
        Ok(change)
    }
}
