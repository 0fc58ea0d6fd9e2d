//! How long a unit takes to answer, as far as its answers show.
//!
//! An answer counts if no other follows within this time (see [`super::answer_trust`]). Too short an
//! estimate lets another master's answer count. Too long a one lets none count where another master
//! asks more often, and an estimate that only answers which count can change would stay so: reads
//! that could not be told apart change it as well.

use std::time::Duration;

/// Answers after which a slow one is forgotten, at the earliest. Many dongles are slow once in eight
/// answers; that 64 in a row are quick has a chance of 1 in 5,000.
const REMEMBERED: u8 = 64;
/// Reads in a row that could not be told apart, after which an estimate is given up. Beside a
/// master whose answers spoil three reads in ten, 16 in a row have a chance of 1 in 200 million.
const CROWDED: u8 = 16;

/// What the answers of one unit show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    basis: Basis,
    /// The slowest of the last answers, fewer than [`REMEMBERED`], or the guess.
    slowest: Duration,
    /// The slowest of the [`REMEMBERED`] before them.
    slowest_before: Duration,
    /// Answers since `slowest` began.
    answers: u8,
    /// Reads in a row that could not be told apart, up to [`CROWDED`].
    crowded: u8,
}

/// What an estimate rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basis {
    Nothing,
    /// The time to the second of two answers, of which ours was one.
    Guess,
    Answers,
}

impl Latency {
    pub(super) const UNKNOWN: Self = Self {
        basis: Basis::Nothing,
        slowest: Duration::ZERO,
        slowest_before: Duration::ZERO,
        answers: 0,
        crowded: 0,
    };

    /// The slowest answer and a quarter more, once there is an estimate.
    pub(super) fn usual(&self) -> Option<Duration> {
        let usual = self.slowest.max(self.slowest_before) * 5 / 4;
        (self.basis != Basis::Nothing).then_some(usual)
    }

    /// The same where the inverter may have more to do than to answer us: twice the slowest answer.
    /// A guess includes that.
    pub(super) fn usual_shared(&self) -> Option<Duration> {
        let twice = self.slowest.max(self.slowest_before) * 2;
        if self.basis == Basis::Answers { Some(twice) } else { self.usual() }
    }

    /// Takes an answer that counts.
    pub(super) fn answered(&mut self, latency: Duration) {
        self.crowded = 0;
        if self.basis != Basis::Answers {
            *self = Self { basis: Basis::Answers, ..Self::UNKNOWN };
        }
        self.slowest = self.slowest.max(latency);
        self.answers += 1;
        if self.answers >= REMEMBERED {
            (self.slowest_before, self.slowest, self.answers) = (self.slowest, Duration::ZERO, 0);
        }
    }

    /// Takes a read that could not be told apart, with the time to its second answer.
    pub(super) fn crowded(&mut self, second: Duration) {
        self.crowded = self.crowded.saturating_add(1);
        match self.basis {
            Basis::Answers if self.crowded < CROWDED => {}
            Basis::Nothing | Basis::Answers => {
                *self = Self { basis: Basis::Guess, slowest: second, ..Self::UNKNOWN };
            }
            // Requests may fall into step with the other master's, so that each is spoilt.
            Basis::Guess => self.slowest = second.min(self.slowest * 3 / 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_slow_answer_is_remembered_and_forgotten() {
        let mut latency = Latency::UNKNOWN;
        assert_eq!(latency.usual(), None);
        latency.answered(ms(1_000));
        assert_eq!(latency.usual_shared(), Some(ms(2_000)));
        for _ in 1..2 * REMEMBERED {
            assert_eq!(latency.usual(), Some(ms(1_250)));
            latency.answered(ms(20));
        }
        assert_eq!(latency.usual(), Some(ms(25)));
    }

    #[test]
    fn reads_that_cannot_be_told_apart_bring_a_guess() {
        let mut latency = Latency::UNKNOWN;
        for (second, usual) in [(800, 1_000), (400, 500), (400, 375)] {
            latency.crowded(ms(second));
            assert_eq!([latency.usual(), latency.usual_shared()], [Some(ms(usual)); 2]);
        }
        latency.answered(ms(40));
        assert_eq!(latency.usual(), Some(ms(50)), "an answer replaces it");
        (0..REMEMBERED).for_each(|_| latency.answered(ms(1_000)));
        for _ in 0..CROWDED {
            assert_eq!(latency.usual(), Some(ms(1_250)));
            latency.crowded(ms(600));
        }
        assert_eq!(latency.usual(), Some(ms(750)));
    }
}
