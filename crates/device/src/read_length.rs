//! Learns how many registers an inverter, or the gateway in front of it, answers in one read.
//!
//! Some refuse a longer read with exception 3, others with 1 or 4, do not answer it, or cut the
//! answer off. If the parts of a read are answered and the whole is not, the longest part may be the
//! limit; if long reads get no valid answer, half their length may be. Either may be chance, a reboot
//! or an outage, so a limit is believed only after a longer read failed once more.

use ecowatt_profile::READ_REGISTERS_MAX;

/// What is known about the length of reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// Longest read answered with words; reset when the inverter goes offline.
    longest: u8,
    /// Reads of more registers are split.
    limit: u8,
    /// Reads without a valid answer in a row, each longer than any that was answered.
    doubts: u8,
    trial: Trial,
}

/// Whether a limit is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// Not yet: the next cycle of an answering inverter tries a longer read.
    Due,
    /// The current cycle tries a longer read.
    Running,
    Passed,
}

#[expect(clippy::cast_possible_truncation, reason = "it is 125")]
const NO_LIMIT: u8 = READ_REGISTERS_MAX as u8;
const _: () = assert!(READ_REGISTERS_MAX <= 0xFF);

/// No lower limit is tried: no gateway is known to need one, and four registers hold any number.
const LIMIT_MIN: u8 = 4;
/// One lost answer is no sign of a limit.
const DOUBTS_MIN: u8 = 2;

impl Lengths {
    pub(crate) const fn new() -> Self {
        Self { longest: 0, limit: NO_LIMIT, doubts: 0, trial: Trial::Passed }
    }

    /// Reads of more registers have to be split in this cycle.
    pub(crate) fn limit(&self) -> u16 {
        u16::from(if self.trial == Trial::Running { NO_LIMIT } else { self.limit })
    }

    /// Whether a read of this many registers was answered since the inverter was last offline.
    pub(crate) fn is_known(&self, registers: u16) -> bool {
        registers <= u16::from(self.longest)
    }

    /// A read was answered with words.
    pub(crate) fn answered(&mut self, registers: u16) {
        let registers = narrow(registers);
        if registers > self.limit {
            // A longer read was answered: length was not the cause.
            (self.limit, self.trial) = (NO_LIMIT, Trial::Passed);
        }
        if registers > self.longest {
            (self.longest, self.doubts) = (registers, 0);
        }
    }

    /// Takes a read without a valid answer; returns the limit if one is believed from here on.
    pub(crate) fn unanswered(&mut self, registers: u16) -> Option<u16> {
        if self.is_known(registers) {
            return None;
        }
        if self.trial == Trial::Running {
            self.trial = Trial::Passed;
            return Some(u16::from(self.limit));
        }
        self.doubts = self.doubts.saturating_add(1);
        if self.doubts >= DOUBTS_MIN {
            // At the shortest, back to whole reads: if nothing is answered, length is not the
            // cause.
            let half = narrow(registers) / 2;
            (self.limit, self.trial) =
                if half < LIMIT_MIN { (NO_LIMIT, Trial::Passed) } else { (half, Trial::Due) };
        }
        None
    }

    /// Takes a cycle in which reads were refused whose parts were all answered, the longest part
    /// with this many registers; returns the limit if one is believed from here on.
    pub(crate) fn refused(&mut self, registers: u16) -> Option<u16> {
        let limit = narrow(registers);
        if self.trial == Trial::Running {
            (self.limit, self.trial) = (limit, Trial::Passed);
            return Some(registers);
        }
        if limit < self.limit {
            (self.limit, self.trial) = (limit, Trial::Due);
        }
        None
    }

    /// A cycle begins.
    pub(crate) fn begin(&mut self, is_answering: bool) {
        if self.trial == Trial::Due && is_answering {
            self.trial = Trial::Running;
        }
    }

    /// A cycle ends.
    pub(crate) fn end(&mut self) {
        if self.trial == Trial::Running {
            // No long read was due, or the cycle ended before it.
            self.trial = Trial::Due;
        }
    }

    /// The inverter went offline. It may come back behind another gateway.
    pub(crate) fn forget(&mut self) {
        self.longest = 0;
        if self.limit < NO_LIMIT {
            self.trial = Trial::Due;
        }
    }
}

fn narrow(registers: u16) -> u8 {
    u8::try_from(registers).unwrap_or(NO_LIMIT).min(NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads 52 registers in each cycle from a gateway that does not answer reads of more than
    /// `carries`; returns the limit that was believed last, and the one at the end.
    fn silent_above(carries: u16, cycles: u32) -> (Option<u16>, u16) {
        let (mut lengths, mut believed, mut is_answering) = (Lengths::new(), None, false);
        for _ in 0..cycles {
            lengths.begin(is_answering);
            let registers = 52.min(lengths.limit());
            is_answering = registers <= carries;
            if is_answering {
                lengths.answered(registers);
            } else {
                believed = lengths.unanswered(registers).or(believed);
            }
            lengths.end();
        }
        (believed, lengths.limit())
    }

    #[test]
    fn silence_is_a_limit_after_a_second_try() {
        assert_eq!(silent_above(125, 50), (None, 125));
        assert_eq!(silent_above(30, 50), (Some(26), 26));
        assert_eq!(silent_above(13, 50), (Some(13), 13));
        assert_eq!(silent_above(6, 50), (Some(6), 6));
    }

    #[test]
    fn an_outage_leaves_no_limit_behind() {
        for away in 0..20 {
            let mut lengths = Lengths::new();
            for _ in 0..away {
                lengths.begin(false);
                assert_eq!(lengths.unanswered(52.min(lengths.limit())), None);
                lengths.end();
            }
            for is_answering in [false, true] {
                lengths.begin(is_answering);
                lengths.answered(52.min(lengths.limit()));
                lengths.end();
            }
            assert_eq!(lengths.limit(), 125, "{away}");
        }
    }

    #[test]
    fn a_refusal_is_a_limit_after_a_second_try_and_until_the_inverter_is_offline() {
        let mut lengths = Lengths::new();
        for (limit, learned) in [(125, None), (125, Some(13)), (13, None)] {
            lengths.begin(true);
            assert_eq!(lengths.limit(), limit);
            lengths.answered(13);
            let is_refused = lengths.limit() > 13;
            assert_eq!(if is_refused { lengths.refused(13) } else { None }, learned);
            lengths.end();
        }
        lengths.forget();
        lengths.begin(true);
        lengths.answered(100);
        lengths.end();
        assert_eq!(lengths.limit(), 125);
    }
}
