//! Finding the models of a SunSpec device: which registers to read next, without reading them.

use super::{END_ID, HEADER_LEN};

/// Where the marker may be, in the order of trial (SunSpec Information Model Specification).
pub const BASES: [u16; 3] = [40_000, 50_000, 0];

/// "SunS" in two registers.
pub const MARKER: [u16; 2] = [0x5375, 0x6E53];

/// Most models that are listed of one device.
pub const MODELS_MAX: usize = 48;

/// A model on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
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

/// The search for a device's models.
///
/// ```
/// use ecowatt_profile::sunspec::Discovery;
/// let device = |address: u16| match address {
///     40_000 => Some([0x5375, 0x6E53]),
///     40_002 => Some([103, 50]),
///     40_054 => Some([0xFFFF, 0]),
///     _ => None, // exception 2
/// };
/// let mut discovery = Discovery::new();
/// while let Some(read) = discovery.next_read() {
///     match device(read.address) {
///         Some(words) => discovery.handle_words(&words),
///         None => discovery.handle_exception(),
///     }
/// }
/// assert_eq!(discovery.models().unwrap()[0].address, 40_002);
/// ```
#[derive(Debug, Clone)]
pub struct Discovery {
    step: Step,
    models: heapless::Vec<Found, MODELS_MAX>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Looking for the marker at this one of the bases.
    Marker(usize),
    /// Reading the header of the model at this register.
    Header(u16),
    Complete,
    Absent,
}

impl Default for Discovery {
    fn default() -> Self {
        Self::new()
    }
}

impl Discovery {
    /// A search that starts at the first base.
    #[must_use]
    pub const fn new() -> Self {
        Self { step: Step::Marker(0), models: heapless::Vec::new() }
    }

    /// What to read next; `None` when the search is over.
    #[must_use]
    pub fn next_read(&self) -> Option<ProbeRead> {
        match self.step {
            Step::Marker(base) => BASES.get(base).map(|&address| ProbeRead { address, count: 2 }),
            Step::Header(address) => Some(ProbeRead { address, count: HEADER_LEN }),
            Step::Complete | Step::Absent => None,
        }
    }

    /// Takes the words of the read that was asked for last.
    pub fn handle_words(&mut self, words: &[u16]) {
        match self.step {
            Step::Marker(base) if words == MARKER => {
                self.step = Step::Header(BASES[base] + 2);
            }
            Step::Marker(base) => self.try_base_after(base),
            Step::Header(address) => {
                let &[id, length] = words else {
                    self.step = Step::Complete;
                    return;
                };
                let next = address.checked_add(HEADER_LEN).and_then(|n| n.checked_add(length));
                let is_listed =
                    id != END_ID && self.models.push(Found { id, address, length }).is_ok();
                self.step = match next {
                    Some(next) if is_listed => Step::Header(next),
                    Some(_) | None => Step::Complete,
                };
            }
            Step::Complete | Step::Absent => {}
        }
    }

    /// Takes the news that the read was refused; some devices end the chain so.
    pub fn handle_exception(&mut self) {
        match self.step {
            Step::Marker(base) => self.try_base_after(base),
            Step::Header(_) => self.step = Step::Complete,
            Step::Complete | Step::Absent => {}
        }
    }

    /// The models, once the search is over; `None` before that and when there is no SunSpec here.
    #[must_use]
    pub fn models(&self) -> Option<&[Found]> {
        match self.step {
            Step::Complete => Some(&self.models),
            Step::Marker(_) | Step::Header(_) | Step::Absent => None,
        }
    }

    fn try_base_after(&mut self, base: usize) {
        self.step = if base + 1 < BASES.len() { Step::Marker(base + 1) } else { Step::Absent };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(device: impl Fn(u16) -> Option<[u16; 2]>) -> (Discovery, usize) {
        let mut discovery = Discovery::new();
        let mut reads = 0;
        while let Some(read) = discovery.next_read() {
            reads += 1;
            match device(read.address) {
                Some(words) => discovery.handle_words(&words),
                None => discovery.handle_exception(),
            }
        }
        (discovery, reads)
    }

    #[test]
    fn the_chain_is_followed_from_any_base() {
        for base in BASES {
            let (discovery, _) = run(|address| match address.checked_sub(base)? {
                0 => Some(MARKER),
                2 => Some([1, 66]),
                70 => Some([103, 50]),
                122 => Some([END_ID, 0]),
                _ => None,
            });
            let found = [
                Found { id: 1, address: base + 2, length: 66 },
                Found { id: 103, address: base + 70, length: 50 },
            ];
            assert_eq!(discovery.models(), Some(&found[..]));
        }
    }

    #[test]
    fn an_exception_ends_the_chain() {
        let (discovery, reads) = run(|address| match address {
            40_000 => Some(MARKER),
            40_002 => Some([113, 60]),
            _ => None,
        });
        assert_eq!(discovery.models().map(<[Found]>::len), Some(1));
        assert_eq!(reads, 3);
    }

    #[test]
    fn a_device_without_marker_is_not_sunspec() {
        assert_eq!(run(|_| None).0.models(), None);
        assert_eq!(run(|_| Some([0, 0])).0.models(), None);
    }

    #[test]
    fn an_endless_chain_ends() {
        let (discovery, reads) =
            run(|address| Some(if BASES.contains(&address) { MARKER } else { [9, 0] }));
        assert_eq!(discovery.models().map(<[Found]>::len), Some(MODELS_MAX));
        assert!(reads <= MODELS_MAX + 2);
        let (discovery, _) =
            run(|address| Some(if BASES.contains(&address) { MARKER } else { [9, 0xFFF0] }));
        assert_eq!(discovery.models().map(<[Found]>::len), Some(1));
    }
}
