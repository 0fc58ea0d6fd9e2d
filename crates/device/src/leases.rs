//! The leases of a device as the slot *limits* holds them, and what is reported of them.
//!
//! Version 1, integers big-endian: version (1), generation (4), number of leases (1); then the
//! leases, each id (4), from (4), to (4), limit (4), then (4), ramp (2), link loss (2), source (1),
//! priority (1), flags (1: 1 for one source, 2 limit in watts, 4 something is stated for afterwards,
//! 8 that is in watts), why it is refused (1; 255 if it is not); then, until the end, for each
//! inverter that a lease limits what was found there: source (1), and the bytes of
//! [`FoundLimit`].
//!
//! Leases have that form in memory too, where a microcontroller holds four.

use core::time::Duration;

use ecowatt_model::lease::LEASES_MAX;
use ecowatt_model::{LeaseGeneration, LeaseId, SOURCES_MAX, SourceNumber, UnixMs};
use ecowatt_wire::{DesiredLeases, Lease, LeaseRefusal, Limit, RefusedLease};
use heapless::Vec;

use crate::lease::{check, is_over};
use crate::limiter::{Change, FoundLimit};
use crate::limits::CHANGES_KEPT;

const VERSION: u8 = 1;
const HEAD_LEN: usize = 1 + 4 + 1;
const LEASE_LEN: usize = 5 * 4 + 2 * 2 + 4;
const FOUND_LEN: usize = 1 + FoundLimit::LEN;

const FOR_SOURCE: u8 = 1;
const IN_WATTS: u8 = 2;
const HAS_THEN: u8 = 4;
const THEN_IN_WATTS: u8 = 8;
const FOLLOWED: u8 = 255;

/// Whether the server has what is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Due,
    /// It is in the message in flight.
    Carried,
    Done,
}

/// The leases that a device holds.
#[derive(Debug)]
pub(crate) struct Leases {
    generation: LeaseGeneration,
    held: Vec<[u8; LEASE_LEN], LEASES_MAX, u8>,
    /// Of the generation and what is refused of it.
    report: Report,
    /// Finished changes that the server may not have, oldest first.
    changes: Vec<Change, CHANGES_KEPT, u8>,
    /// How many of them are in the message in flight.
    carried: u8,
}

impl Leases {
    pub(crate) const LEN_MAX: usize = HEAD_LEN + LEASES_MAX * LEASE_LEN + SOURCES_MAX * FOUND_LEN;

    const NONE: Self = Self {
        generation: LeaseGeneration(0),
        held: Vec::new(),
        report: Report::Done,
        changes: Vec::new(),
        carried: 0,
    };

    /// Of a device whose slot has these bytes, if any, with what was found at inverters.
    pub(crate) fn new(kept: Option<&[u8]>, found: impl FnMut(SourceNumber, FoundLimit)) -> Self {
        kept.and_then(|bytes| Self::parse(bytes, found)).unwrap_or(Self::NONE)
    }

    pub(crate) fn generation(&self) -> LeaseGeneration {
        self.generation
    }

    /// Whether an inverter may have a limit.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The leases that the device follows.
    pub(crate) fn followed(&self) -> impl Iterator<Item = Lease> {
        self.held.iter().filter(|bytes| refusal(bytes).is_none()).map(lease)
    }

    /// How often the device has to hear from the server so that no lease takes the connection for
    /// lost; `None` if none has a say any more. `now` is absent while the time is not known.
    pub(crate) fn contact_interval(&self, now: Option<UnixMs>) -> Option<Duration> {
        let has_say = |lease: &Lease| !now.is_some_and(|now| is_over(lease, now));
        let shortest = self.followed().filter(has_say).map(|lease| lease.link_loss_s).min()?;
        // A message that gets no answer is repeated within seconds, so there is time for that.
        Some(Duration::from_secs(shortest.into()) / 2)
    }

    /// Those that it refuses.
    pub(crate) fn refused(&self) -> impl Iterator<Item = RefusedLease> {
        self.held.iter().filter_map(|bytes| {
            let reason = refusal(bytes)?;
            Some(RefusedLease { id: lease(bytes).id, reason })
        })
    }

    /// Takes the leases of a reply; returns whether they are new. They are followed once they are
    /// durable.
    pub(crate) fn take(&mut self, desired: &DesiredLeases<'_>, sources: &[SourceNumber]) -> bool {
        if desired.generation <= self.generation {
            return false;
        }
        self.generation = desired.generation;
        self.report = Report::Due;
        self.held.clear();
        for lease in desired.leases.iter() {
            // A later version may send more than there is room for.
            let _ = self.held.push(bytes(&lease, check(&lease, sources).err()));
        }
        true
    }

    /// Has the generation reported with the next message.
    pub(crate) fn report(&mut self) {
        self.report = Report::Due;
    }

    /// Adds a finished change to what is reported; the oldest makes room.
    pub(crate) fn add(&mut self, change: Change) {
        if self.changes.is_full() {
            self.changes.remove(0);
            self.carried = self.carried.saturating_sub(1);
        }
        let _ = self.changes.push(change);
    }

    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether there is something to report that is not in the message in flight.
    pub(crate) fn is_report_due(&self) -> bool {
        self.report == Report::Due || self.changes.len() > usize::from(self.carried)
    }

    /// The report is in a message.
    pub(crate) fn carried(&mut self) {
        if self.report == Report::Due {
            self.report = Report::Carried;
        }
        self.carried = u8::try_from(self.changes.len()).unwrap_or(u8::MAX);
    }

    /// The message in flight got its reply, or will get none.
    pub(crate) fn answered(&mut self, is_answered: bool) {
        let carried = core::mem::take(&mut self.carried);
        if is_answered {
            self.changes.drain(..usize::from(carried).min(self.changes.len()));
        }
        if self.report == Report::Carried {
            self.report = if is_answered { Report::Done } else { Report::Due };
        }
    }

    /// Writes the slot's contents to the start of `out`, which has room for [`Leases::LEN_MAX`]
    /// bytes; returns their number.
    pub(crate) fn write(
        &self,
        found: impl Iterator<Item = (SourceNumber, FoundLimit)>,
        out: &mut [u8],
    ) -> usize {
        let mut len = 0;
        let mut put = |part: &[u8]| {
            if let Some(place) = out.get_mut(len..len + part.len()) {
                place.copy_from_slice(part);
                len += part.len();
            }
        };
        let count = u8::try_from(self.held.len()).unwrap_or(0);
        put(&[VERSION]);
        put(&self.generation.0.to_be_bytes());
        put(&[count]);
        put(self.held.as_flattened());
        for (source, found) in found.take(SOURCES_MAX) {
            put(&[source.0]);
            put(&found.bytes());
        }
        len
    }

    /// Returns `None` if the bytes are damaged or of another version.
    fn parse(bytes: &[u8], mut found: impl FnMut(SourceNumber, FoundLimit)) -> Option<Self> {
        let ([version, a, b, c, d, count], rest) = bytes.split_first_chunk::<HEAD_LEN>()?;
        let (held, rest) = rest.split_at_checked(usize::from(*count) * LEASE_LEN)?;
        let (limits, left) = rest.as_chunks::<FOUND_LEN>();
        if *version != VERSION || !left.is_empty() {
            return None;
        }
        let generation = LeaseGeneration(u32::from_be_bytes([*a, *b, *c, *d]));
        let held = Vec::from_slice(held.as_chunks().0).ok()?;
        for [source, limit @ ..] in limits {
            found(SourceNumber(*source), FoundLimit::parse(limit)?);
        }
        Some(Self { generation, held, ..Self::NONE })
    }
}

fn bytes(lease: &Lease, refusal: Option<LeaseRefusal>) -> [u8; LEASE_LEN] {
    let ((limit_unit, limit), then) = (lease.limit.to_parts(), lease.then.map(Limit::to_parts));
    let (then_unit, then_value) = then.unwrap_or((0, 0));
    let flags = u8::from(lease.source.is_some()) * FOR_SOURCE
        + u8::from(limit_unit == 1) * IN_WATTS
        + u8::from(then.is_some()) * HAS_THEN
        + u8::from(then_unit == 1) * THEN_IN_WATTS;
    let mut bytes = [0; LEASE_LEN];
    let (numbers, _) = bytes.as_chunks_mut::<4>();
    let values = [lease.id.0, lease.from_s, lease.to_s, limit, then_value];
    for (place, value) in numbers.iter_mut().zip(values) {
        *place = value.to_be_bytes();
    }
    let ([a, b], [c, d]) = (lease.ramp_s.to_be_bytes(), lease.link_loss_s.to_be_bytes());
    let source = lease.source.map_or(0, |source| source.0);
    let refusal = refusal.map_or(FOLLOWED, |reason| reason as u8);
    bytes[20..].copy_from_slice(&[a, b, c, d, source, lease.priority, flags, refusal]);
    bytes
}

fn lease(bytes: &[u8; LEASE_LEN]) -> Lease {
    let mut numbers = [0; 5];
    for (number, bytes) in numbers.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *number = u32::from_be_bytes(*bytes);
    }
    let [id, from_s, to_s, limit, then] = numbers;
    let [.., a, b, c, d, source, priority, flags, _] = *bytes;
    let has = |flag: u8| flags & flag != 0;
    Lease {
        id: LeaseId(id),
        source: has(FOR_SOURCE).then_some(SourceNumber(source)),
        limit: Limit::from_parts(u8::from(has(IN_WATTS)), limit),
        from_s,
        to_s,
        ramp_s: u16::from_be_bytes([a, b]),
        link_loss_s: u16::from_be_bytes([c, d]),
        then: has(HAS_THEN).then(|| Limit::from_parts(u8::from(has(THEN_IN_WATTS)), then)),
        priority,
    }
}

fn refusal(bytes: &[u8; LEASE_LEN]) -> Option<LeaseRefusal> {
    let [.., refusal] = *bytes;
    (refusal != FOLLOWED).then(|| LeaseRefusal::from_code(refusal))
}

#[cfg(test)]
mod tests {
    use ecowatt_wire::SectionList;

    use super::*;

    fn full() -> [Lease; LEASES_MAX] {
        let lease = Lease {
            id: LeaseId(u32::MAX),
            source: Some(SourceNumber(255)),
            limit: Limit::Watts(1_000),
            from_s: u32::MAX - 7,
            to_s: u32::MAX,
            ramp_s: 3_600,
            link_loss_s: 64_800,
            then: Some(Limit::Permille(500)),
            priority: 255,
        };
        [
            lease,
            Lease { id: LeaseId(1), source: None, then: Some(Limit::Watts(7)), ..lease },
            Lease { id: LeaseId(2), limit: Limit::Permille(0), then: None, ..lease },
            Lease { id: LeaseId(3), source: Some(SourceNumber(7)), ..lease },
        ]
    }

    fn taken(leases: &[Lease]) -> Leases {
        let mut held = Leases::NONE;
        let generation = LeaseGeneration(9);
        let desired = DesiredLeases { generation, leases: SectionList::Given(leases) };
        assert!(held.take(&desired, &[SourceNumber(255)]) && !held.take(&desired, &[]));
        held
    }

    #[test]
    fn the_longest_slot_is_parsed_back() {
        let leases = taken(&full());
        assert_eq!(leases.followed().collect::<std::vec::Vec<_>>(), full()[..3]);
        let refused = RefusedLease { id: LeaseId(3), reason: LeaseRefusal::NoSource };
        assert_eq!(leases.refused().collect::<std::vec::Vec<_>>(), [refused]);
        let limit = FoundLimit::new(0x1234, 300_000, &[1, 2, 3, 4, 5]).unwrap();
        let found: std::vec::Vec<_> = (0..8).map(|source| (SourceNumber(source), limit)).collect();
        let mut out = [0xEE; Leases::LEN_MAX];
        assert_eq!(leases.write(found.iter().copied(), &mut out), Leases::LEN_MAX);
        let mut parsed = std::vec::Vec::new();
        let again = Leases::new(Some(&out), |source, limit| parsed.push((source, limit)));
        assert_eq!((again.generation, &again.held), (leases.generation, &leases.held));
        assert_eq!(parsed, found);
    }

    #[test]
    fn damaged_bytes_and_other_versions_count_as_no_leases() {
        let mut out = [0; Leases::LEN_MAX];
        let len = taken(&full()).write(core::iter::empty(), &mut out);
        let count = |bytes: &[u8]| Leases::new(Some(bytes), |_, _| ()).held.len();
        assert_eq!(count(&out[..len]), LEASES_MAX);
        for cut in 0..len {
            assert_eq!(count(&out[..cut]), 0, "{cut}");
        }
        out[0] = 2;
        assert_eq!(count(&out[..len]), 0);
        assert_eq!(Leases::new(None, |_, _| ()).held.len(), 0);
    }

    #[test]
    fn what_is_reported_waits_for_a_reply() {
        let mut leases = taken(&full());
        assert!(leases.is_report_due());
        leases.carried();
        assert!(!leases.is_report_due());
        leases.add(Change::NONE);
        assert!(leases.is_report_due(), "a change while the message is in flight");
        leases.answered(false);
        leases.carried();
        for _ in 0..CHANGES_KEPT {
            leases.add(Change::NONE);
        }
        leases.answered(true);
        assert_eq!(leases.changes().len(), CHANGES_KEPT, "none of them was in the message");
        assert!(leases.is_report_due());
        leases.carried();
        leases.answered(true);
        assert!(!leases.is_report_due() && leases.changes().is_empty());
    }
}
