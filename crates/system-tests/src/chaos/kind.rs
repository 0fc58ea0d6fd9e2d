//! The kinds of faults, what each needs exclusively, and the order in which they are drawn.

use ecowatt_fleet_sim::random::Random;

/// A kind of fault with a beginning and an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    ServerKilled,
    ServerPaused,
    ServerDiskFull,
    ServerFilesUsedUp,
    ServerCrowded,
    Overload,
    AgentKilled,
    AgentPaused,
    AgentDiskFull,
    LinkParted,
    InverterKilled,
    InverterPaused,
    BusParted,
}

/// What a fault needs exclusively, so that no two of them disturb each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Server,
    ServerDisk,
    Agent(usize),
    AgentDisk,
    Link(usize),
    Inverter(usize),
    Bus(usize),
}

/// All kinds.
pub(crate) const KINDS: [Kind; 13] = [
    Kind::ServerKilled,
    Kind::ServerPaused,
    Kind::ServerDiskFull,
    Kind::ServerFilesUsedUp,
    Kind::ServerCrowded,
    Kind::Overload,
    Kind::AgentKilled,
    Kind::AgentPaused,
    Kind::AgentDiskFull,
    Kind::LinkParted,
    Kind::InverterKilled,
    Kind::InverterPaused,
    Kind::BusParted,
];

/// Kinds that fill the time while another fault occupies the server.
const LIGHT: [Kind; 4] =
    [Kind::AgentKilled, Kind::AgentPaused, Kind::LinkParted, Kind::InverterKilled];
/// How often the time is filled so, in millionths: agents also need time to sample.
const LIGHT_SHARE: u32 = 300_000;
/// Most overloads in one run: each leaves some hundred megabytes on a small disk.
const OVERLOADS_MAX: u32 = 2;

impl Kind {
    /// Its name in the table.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ServerKilled => "server killed (SIGKILL)",
            Self::ServerPaused => "server stopped and continued (SIGSTOP)",
            Self::ServerDiskFull => "server's disk full",
            Self::ServerFilesUsedUp => "server out of file descriptors",
            Self::ServerCrowded => "server's connections all used by idle clients",
            Self::Overload => "server offered ten times its capacity",
            Self::AgentKilled => "agent killed (SIGKILL)",
            Self::AgentPaused => "agent stopped and continued (SIGSTOP)",
            Self::AgentDiskFull => "agent's disk full",
            Self::LinkParted => "agent cut off from the server",
            Self::InverterKilled => "inverter killed (SIGKILL)",
            Self::InverterPaused => "inverter stopped and continued (SIGSTOP)",
            Self::BusParted => "agent cut off from its inverter",
        }
    }

    /// The parts that it needs exclusively, with the agent or inverter of this number.
    pub(crate) fn needs(self, number: usize) -> Vec<Part> {
        match self {
            Self::ServerKilled
            | Self::ServerPaused
            | Self::ServerFilesUsedUp
            | Self::ServerCrowded => vec![Part::Server],
            Self::ServerDiskFull => vec![Part::ServerDisk],
            Self::Overload => vec![Part::Server, Part::ServerDisk],
            Self::AgentKilled | Self::AgentPaused => vec![Part::Agent(number)],
            Self::AgentDiskFull => vec![Part::AgentDisk],
            Self::LinkParted => vec![Part::Link(number)],
            Self::InverterKilled | Self::InverterPaused => vec![Part::Inverter(number)],
            Self::BusParted => vec![Part::Bus(number)],
        }
    }
}

/// The kinds still to come: every kind once in random order, then every kind once more.
#[derive(Debug)]
pub(crate) struct Deck {
    kinds: Vec<Kind>,
    left: Vec<Kind>,
    rounds: u32,
}

impl Deck {
    pub(crate) fn new(kinds: Vec<Kind>) -> Self {
        Self { kinds, left: Vec::new(), rounds: 0 }
    }

    /// Whether each kind was drawn at least once.
    pub(crate) fn has_shown_all(&self) -> bool {
        self.rounds > 1 || self.rounds == 1 && self.left.is_empty()
    }

    /// The next kind that can begin, with the number of its victim among `count`.
    pub(crate) fn draw(
        &mut self,
        random: &mut Random,
        count: usize,
        is_free: impl Fn(&[Part]) -> bool,
    ) -> Option<(Kind, usize)> {
        if self.left.is_empty() {
            self.left.clone_from(&self.kinds);
            self.left.retain(|kind| *kind != Kind::Overload || self.rounds < OVERLOADS_MAX);
            shuffle(&mut self.left, random);
            self.rounds += 1;
        }
        let number = pick(random, count);
        let can_begin = |kind: &Kind| is_free(&kind.needs(number));
        if let Some(place) = self.left.iter().position(can_begin) {
            return Some((self.left.remove(place), number));
        }
        if !random.happens(LIGHT_SHARE) {
            return None;
        }
        Some((LIGHT[pick(random, LIGHT.len())], number)).filter(|(kind, _)| can_begin(kind))
    }
}

fn shuffle(kinds: &mut [Kind], random: &mut Random) {
    for place in (1..kinds.len()).rev() {
        kinds.swap(place, pick(random, place + 1));
    }
}

fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_comes_once_before_any_comes_again() {
        let mut random = Random::new(1, 0);
        let mut deck = Deck::new(KINDS.to_vec());
        let mut drawn = Vec::new();
        for _ in KINDS {
            assert!(!deck.has_shown_all());
            drawn.extend(deck.draw(&mut random, 3, |_| true).map(|(kind, _)| kind));
        }
        assert!(deck.has_shown_all());
        drawn.sort_unstable();
        assert_eq!(drawn, KINDS);
    }

    #[test]
    fn occupied_parts_get_no_second_fault() {
        let mut random = Random::new(2, 0);
        let mut deck = Deck::new(KINDS.to_vec());
        let is_free = |parts: &[Part]| !parts.contains(&Part::Server);
        for _ in 0..100 {
            if let Some((kind, number)) = deck.draw(&mut random, 3, is_free) {
                assert!(is_free(&kind.needs(number)), "{kind:?}");
            }
        }
    }
}
