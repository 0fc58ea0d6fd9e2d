//! Finds the models of a SunSpec device: decides which registers to read next, without IO.
//!
//! The list of models begins after the marker at one of [`BASES`] and ends where the device
//! indicates it: with an end model, with a refusal, or at the end of the address space. Only "no
//! such register" (exceptions 2 and 3) counts as a refusal. Silence and "busy" say nothing about
//! the registers: the read is retried, [`TRIES_MAX`] times in all, and a list that still cannot be
//! finished is *incomplete*. The models found until then are used.

use super::{END_ID, HEADER_LEN};

/// Where the marker may be, in the order of search. The first three are those of the SunSpec
/// Information Model Specification; firmware that counts registers from one shifts its whole map.
pub const BASES: [u16; 5] = [40_000, 50_000, 0, 40_001, 39_999];

/// "SunS" in two registers.
pub const MARKER: [u16; 2] = [0x5375, 0x6E53];

/// Maximum number of models listed for one device.
pub const MODELS_MAX: usize = 48;

/// How often a register without a usable answer is read.
pub const TRIES_MAX: u8 = 3;

/// A model on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundModel {
    /// Number of the model.
    pub id: u16,
    /// Register of the identifier.
    pub address: u16,
    /// Registers after the two of the header.
    pub length: u16,
}

/// Holding registers to read for the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeRead {
    /// First register.
    pub address: u16,
    /// How many.
    pub count: u16,
}

/// Outcome of a [`ProbeRead`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeAnswer<'a> {
    /// The words, as many as requested.
    Words(&'a [u16]),
    /// The register does not exist: exception 2, or 3.
    Refused,
    /// Any other exception, or a damaged answer: the device is there, but its registers are
    /// unknown.
    Busy,
    /// No answer, from the device or from a gateway on its behalf.
    Silent,
}

/// Result of a successful search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings<'a> {
    /// The models in the order of their registers.
    pub models: &'a [FoundModel],
    /// Whether the device indicated the end of the list.
    pub is_complete: bool,
}

/// Why a search found no models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoModels {
    /// Every base was answered, and none holds the marker.
    #[error("inverter has no SunSpec models")]
    Absent,
    /// Some base gave no usable answer.
    #[error("inverter did not answer the search for its models")]
    Unanswered,
}

/// The search for a device's models.
///
/// ```
/// use ecowatt_profile::sunspec::{Discovery, ProbeAnswer};
/// let device = |address: u16| match address {
///     40_000 => Some([0x5375, 0x6E53]),
///     40_002 => Some([103, 50]),
///     40_054 => Some([0xFFFF, 0]),
///     _ => None, // exception 2
/// };
/// let mut discovery = Discovery::new();
/// while let Some(read) = discovery.next_read() {
///     match device(read.address) {
///         Some(words) => discovery.handle(ProbeAnswer::Words(&words)),
///         None => discovery.handle(ProbeAnswer::Refused),
///     }
/// }
/// let findings = discovery.findings().unwrap().unwrap();
/// assert_eq!(findings.models[0].address, 40_002);
/// assert!(findings.is_complete);
/// ```
#[derive(Debug, Clone)]
pub struct Discovery {
    step: Step,
    /// Reads without a usable answer: per base, and for the current header.
    tries: [u8; BASES.len()],
    header_tries: u8,
    /// One bit for each base that is settled: it has no list of models.
    settled: u8,
    /// Whether the device has answered at all.
    is_answered: bool,
    models: heapless::Vec<FoundModel, MODELS_MAX>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Looking for the marker at the base with this index.
    Marker(usize),
    /// Reading the header of the model at this register, in the list of this base.
    Header(usize, u16),
    Complete,
    Incomplete,
    None,
}

const _: () = assert!(BASES.len() <= 8, "settled bases are kept in eight bits");

impl Default for Discovery {
    fn default() -> Self {
        Self::new()
    }
}

impl Discovery {
    /// A search that starts at the first base.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            step: Step::Marker(0),
            tries: [0; BASES.len()],
            header_tries: 0,
            settled: 0,
            is_answered: false,
            models: heapless::Vec::new(),
        }
    }

    /// Returns the next read, or `None` when the search is over.
    #[must_use]
    pub fn next_read(&self) -> Option<ProbeRead> {
        match self.step {
            Step::Marker(base) => BASES.get(base).map(|&address| ProbeRead { address, count: 2 }),
            Step::Header(_, address) => Some(ProbeRead { address, count: HEADER_LEN }),
            Step::Complete | Step::Incomplete | Step::None => None,
        }
    }

    /// Whether the next read is a retry; wait before sending it.
    #[must_use]
    pub fn is_again(&self) -> bool {
        match self.step {
            Step::Marker(base) => self.tries.get(base).is_some_and(|&tries| tries > 0),
            Step::Header(..) => self.header_tries > 0,
            Step::Complete | Step::Incomplete | Step::None => false,
        }
    }

    /// Takes the outcome of the last read.
    pub fn handle(&mut self, answer: ProbeAnswer<'_>) {
        self.is_answered |= answer != ProbeAnswer::Silent;
        match (self.step, answer) {
            (Step::Marker(base), ProbeAnswer::Words(words)) if words == MARKER => {
                self.header_tries = 0;
                self.step = Step::Header(base, BASES[base] + 2);
            }
            (Step::Marker(base), ProbeAnswer::Words(_) | ProbeAnswer::Refused) => {
                self.settle(base);
            }
            (Step::Marker(base), ProbeAnswer::Busy | ProbeAnswer::Silent) => {
                self.tries[base] += 1;
                self.step = self.base_after(base);
            }
            (Step::Header(base, address), ProbeAnswer::Words(&[id, length])) => {
                self.header_tries = 0;
                self.take_header(base, FoundModel { id, address, length });
            }
            (Step::Header(base, _), ProbeAnswer::Words(_) | ProbeAnswer::Refused) => {
                self.end_list(base);
            }
            (Step::Header(base, _), ProbeAnswer::Busy | ProbeAnswer::Silent) => {
                self.header_tries += 1;
                if self.header_tries < TRIES_MAX {
                    return;
                }
                if self.models.is_empty() {
                    // A complete list may exist at another base.
                    self.tries[base] = TRIES_MAX;
                    self.step = self.base_after(base);
                } else {
                    self.step = Step::Incomplete;
                }
            }
            (Step::Complete | Step::Incomplete | Step::None, _) => {}
        }
    }

    /// Returns the result once the search is over; `None` before that.
    #[must_use]
    pub fn findings(&self) -> Option<Result<Findings<'_>, NoModels>> {
        let findings = |is_complete| Ok(Findings { models: &self.models, is_complete });
        match self.step {
            Step::Marker(_) | Step::Header(..) => None,
            Step::Complete => Some(findings(true)),
            Step::Incomplete => Some(findings(false)),
            Step::None if self.settled == ALL_SETTLED => Some(Err(NoModels::Absent)),
            Step::None => Some(Err(NoModels::Unanswered)),
        }
    }

    fn take_header(&mut self, base: usize, found: FoundModel) {
        // Many devices end the list with zeros instead of the end model.
        let is_end = found.id == END_ID || found.id == 0;
        // A model without registers has nothing to read, but other models may follow it.
        let is_listed = !is_end && self.models.push(found).is_ok();
        let next = found.address.checked_add(HEADER_LEN).and_then(|n| n.checked_add(found.length));
        match next {
            Some(next) if is_listed => self.step = Step::Header(base, next),
            Some(_) | None => self.end_list(base),
        }
    }

    /// Ends the list as indicated by the device. An empty list does not count.
    fn end_list(&mut self, base: usize) {
        if self.models.is_empty() {
            self.settle(base);
        } else {
            self.step = Step::Complete;
        }
    }

    fn settle(&mut self, base: usize) {
        self.settled |= 1 << base;
        self.step = self.base_after(base);
    }

    /// Returns the next base to try: each base once, then those without a usable answer again. A
    /// device that never answers is asked once at each.
    fn base_after(&self, base: usize) -> Step {
        let is_open = |base: &usize| {
            let tries = self.tries[*base];
            self.settled & (1 << base) == 0 && tries < TRIES_MAX && (tries == 0 || self.is_answered)
        };
        let round = (base + 1..BASES.len()).chain(0..=base);
        round.into_iter().find(is_open).map_or(Step::None, Step::Marker)
    }
}

const ALL_SETTLED: u8 = (1 << BASES.len()) - 1;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    /// What a device answers for a register, the nth time it is read.
    type Device<'a> = &'a dyn Fn(u16, u32) -> Option<Option<[u16; 2]>>;

    /// Words, or `Some(None)` for exception 2, or `None` for silence and "busy".
    fn run(device: Device<'_>) -> (Discovery, Vec<u16>) {
        let mut discovery = Discovery::new();
        let (mut asked, mut times) = (Vec::new(), BTreeMap::new());
        while let Some(read) = discovery.next_read() {
            asked.push(read.address);
            assert!(asked.len() <= 200, "the search does not end");
            let time = times.entry(read.address).or_insert(0);
            match device(read.address, *time) {
                Some(Some(words)) => discovery.handle(ProbeAnswer::Words(&words)),
                Some(None) => discovery.handle(ProbeAnswer::Refused),
                None => discovery.handle(ProbeAnswer::Silent),
            }
            *time += 1;
        }
        (discovery, asked)
    }

    fn ids(discovery: &Discovery) -> (Vec<u16>, bool) {
        let findings = discovery.findings().unwrap().unwrap();
        (findings.models.iter().map(|found| found.id).collect(), findings.is_complete)
    }

    /// Models 1 and 103 at this base, followed by `end`.
    fn listed(base: u16, address: u16, end: Option<Option<[u16; 2]>>) -> Option<Option<[u16; 2]>> {
        match address.checked_sub(base) {
            Some(0) => Some(Some(MARKER)),
            Some(2) => Some(Some([1, 66])),
            Some(70) => Some(Some([103, 50])),
            Some(122) => end,
            _ => Some(None),
        }
    }

    #[test]
    fn the_list_is_followed_from_any_base() {
        for base in BASES {
            let (discovery, _) = run(&|address, _| listed(base, address, Some(Some([END_ID, 0]))));
            let found = [
                FoundModel { id: 1, address: base + 2, length: 66 },
                FoundModel { id: 103, address: base + 70, length: 50 },
            ];
            let findings = discovery.findings().unwrap().unwrap();
            assert_eq!((findings.models, findings.is_complete), (&found[..], true), "{base}");
        }
    }

    #[test]
    fn an_end_model_zeros_and_a_refusal_end_the_list() {
        for end in [Some([END_ID, 0]), Some([END_ID, 7]), Some([0, 0]), Some([0, 9]), None] {
            let (discovery, _) = run(&|address, _| listed(40_000, address, Some(end)));
            assert_eq!(ids(&discovery), (Vec::from([1, 103]), true), "{end:?}");
        }
    }

    #[test]
    fn silence_after_the_last_model_leaves_the_list_incomplete() {
        let (discovery, asked) = run(&|address, _| listed(40_000, address, None));
        assert_eq!(ids(&discovery), (Vec::from([1, 103]), false));
        assert_eq!(asked.iter().filter(|&&address| address == 40_122).count(), 3);
    }

    #[test]
    fn unanswered_reads_are_retried() {
        for busy in [40_000, 40_002, 40_070, 40_122] {
            let (discovery, _) = run(&|address, time| {
                let is_busy = address == busy && time < 2;
                if is_busy { None } else { listed(40_000, address, Some(None)) }
            });
            assert_eq!(ids(&discovery), (Vec::from([1, 103]), true), "{busy}");
        }
    }

    #[test]
    fn every_base_is_tried_although_others_are_silent() {
        for base in BASES {
            let (discovery, _) = run(&|address, _| {
                let end = Some(Some([END_ID, 0]));
                let is_known = (base..base + 124).contains(&address);
                if is_known { listed(base, address, end) } else { None }
            });
            assert_eq!(ids(&discovery), (Vec::from([1, 103]), true), "{base}");
        }
    }

    #[test]
    fn a_marker_without_models_is_not_a_list() {
        for end in [Some(None), Some(Some([END_ID, 0])), Some(Some([0, 0])), None] {
            let (discovery, _) = run(&|address, _| match address {
                40_000 => Some(Some(MARKER)),
                40_002 => end,
                _ => listed(0, address, Some(None)),
            });
            assert_eq!(ids(&discovery), (Vec::from([1, 103]), true), "{end:?}");
        }
    }

    #[test]
    fn no_models_and_no_answer_are_distinguished() {
        let (discovery, _) = run(&|_, _| Some(None));
        assert_eq!(discovery.findings(), Some(Err(NoModels::Absent)));
        let (discovery, _) = run(&|_, _| Some(Some([0, 0])));
        assert_eq!(discovery.findings(), Some(Err(NoModels::Absent)));
        let (discovery, asked) = run(&|_, _| None);
        assert_eq!(discovery.findings(), Some(Err(NoModels::Unanswered)));
        assert_eq!(asked, BASES);
        let (discovery, asked) = run(&|address, _| if address == 0 { None } else { Some(None) });
        assert_eq!(discovery.findings(), Some(Err(NoModels::Unanswered)));
        assert_eq!(asked.iter().filter(|&&address| address == 0).count(), 3);
    }

    #[test]
    fn an_endless_list_ends() {
        let marked = |address: u16| BASES[..1].contains(&address);
        for header in [[9, 0], [9, 1], [9, 500]] {
            let (discovery, asked) =
                run(&|address, _| Some(Some(if marked(address) { MARKER } else { header })));
            let (found, is_complete) = ids(&discovery);
            assert!((1..=MODELS_MAX).contains(&found.len()) && is_complete, "{header:?}");
            assert!(asked.len() <= MODELS_MAX + 2);
        }
        let (discovery, _) =
            run(&|address, _| Some(Some(if marked(address) { MARKER } else { [9, 0xFFF0] })));
        assert_eq!(ids(&discovery), (Vec::from([9]), true));
    }
}
