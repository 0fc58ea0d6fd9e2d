//! Decides which batches of a counter are believed.
//!
//! A link is judged by those within `WINDOW` of it on either side. It is in doubt if two links, one
//! before and one after it, continue each other while it does not fit between them. The longest
//! line that skips the link is then its rival. The link is believed if its own side has more links
//! than the rival has links that contradict it, or so many in a row that they cannot be misread but
//! come from another inverter. If two lines alternate, the higher one is believed: the other is a
//! part of the whole. A replaced inverter has no rival, because no link of the old counter's line
//! comes after it. Believed links that still contradict each other are left out if others span
//! them.

use super::Link;

pub(super) const WINDOW: usize = super::WINDOW as usize;

/// Links in a row that are believed regardless of contradictions: a counter with so many was
/// replaced.
const LASTING: usize = 16;

/// Links from which on a line may be one of two that alternate.
const TURNS_MIN: u32 = 4;

/// Returns for each link, in the order of their ids, whether it is believed.
pub(super) fn believed(links: &[Link]) -> Vec<bool> {
    // How many of the steps up to each link are not continuous.
    let mut breaks = vec![0usize; links.len()];
    for place in 1..links.len() {
        let is_break = !links[place - 1].is_continued_by(&links[place]);
        breaks[place] = breaks[place - 1] + usize::from(is_break);
    }
    let windows: Vec<Option<Window>> = (0..links.len())
        .map(|place| {
            let from = place.saturating_sub(WINDOW);
            let to = (place + WINDOW).min(links.len() - 1);
            (breaks[from] != breaks[to]).then_some(Window { from, to })
        })
        .collect();
    let mut reaches = Reaches::new(links);
    let judge = |(place, window): (usize, &Option<Window>)| {
        window.is_none_or(|window| window.believes(&mut reaches, place))
    };
    let judged: Vec<bool> = windows.iter().enumerate().map(judge).collect();
    let counts = |(place, window): (usize, &Option<Window>)| {
        judged[place]
            && !window.is_some_and(|window| window.is_spanned(&mut reaches, &judged, place))
    };
    windows.iter().enumerate().map(counts).collect()
}

/// Which links continue which within one window; each pair is computed once.
struct Reaches<'a> {
    links: &'a [Link],
    /// Per link, one bit for each of those after it.
    known: Vec<Option<u64>>,
}

impl<'a> Reaches<'a> {
    fn new(links: &'a [Link]) -> Self {
        Self { links, known: vec![None; links.len()] }
    }

    fn has(&mut self, from: usize, to: usize) -> bool {
        let links = self.links;
        let bits = self.known[from].get_or_insert_with(|| {
            let after = links[from + 1..].iter().take(2 * WINDOW);
            (0..).zip(after).fold(0, |bits, (distance, later)| {
                bits | u64::from(links[from].is_continued_by(later)) << distance
            })
        });
        *bits >> (to - from - 1) & 1 == 1
    }
}

/// The links that one link is judged by.
#[derive(Clone, Copy)]
struct Window {
    from: usize,
    to: usize,
}

/// For each link of a window: the length of the longest line that ends, or begins, with it, and the
/// next link of that line. `None` for those that are left out.
struct Lengths {
    window: Window,
    all: [(u32, Option<usize>); 2 * WINDOW + 1],
}

impl Lengths {
    fn of(&self, place: usize) -> u32 {
        self.all[place - self.window.from].0
    }

    /// The links of the longest line starting here, this link included.
    fn line(&self, place: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(place), |place| self.all[place - self.window.from].1)
    }
}

impl Window {
    /// Lines that end with each link up to `last`, using only the links that `is_in` admits.
    fn ending(self, reaches: &mut Reaches<'_>, is_in: &dyn Fn(usize) -> bool) -> Lengths {
        let mut lengths = Lengths { window: self, all: [(0, None); 2 * WINDOW + 1] };
        for place in (self.from..=self.to).filter(|place| is_in(*place)) {
            let mut longest = (1, None);
            for before in self.from..place {
                let length = lengths.of(before) + 1;
                if length > 1 && length >= longest.0 && reaches.has(before, place) {
                    longest = (length, Some(before));
                }
            }
            lengths.all[place - self.from] = longest;
        }
        lengths
    }

    /// Lines that begin with each link, using only the links that `is_in` admits.
    fn beginning(self, reaches: &mut Reaches<'_>, is_in: &dyn Fn(usize) -> bool) -> Lengths {
        let mut lengths = Lengths { window: self, all: [(0, None); 2 * WINDOW + 1] };
        for place in (self.from..=self.to).rev().filter(|place| is_in(*place)) {
            let mut longest = (1, None);
            for after in (place + 1..=self.to).rev() {
                let length = lengths.of(after) + 1;
                if length > 1 && length >= longest.0 && reaches.has(place, after) {
                    longest = (length, Some(after));
                }
            }
            lengths.all[place - self.from] = longest;
        }
        lengths
    }

    fn believes(self, reaches: &mut Reaches<'_>, place: usize) -> bool {
        let ending = self.ending(reaches, &|_| true);
        let beginning = self.beginning(reaches, &|_| true);
        // Of the longest line that skips the link, the two ends nearest to each other.
        let mut rival: Option<(u32, usize, usize)> = None;
        for before in (self.from..place).rev() {
            for after in place + 1..=self.to {
                let length = ending.of(before) + beginning.of(after);
                if rival.is_none_or(|(longest, ..)| length > longest)
                    && reaches.has(before, after)
                    && !(reaches.has(before, place) && reaches.has(place, after))
                {
                    rival = Some((length, before, after));
                }
            }
        }
        let Some((_, before, after)) = rival else { return true };
        let mut is_rival = [false; 2 * WINDOW + 1];
        let mut against = 0u32;
        for other in ending.line(before) {
            is_rival[other - self.from] = true;
            against += u32::from(!reaches.has(other, place));
        }
        for other in beginning.line(after) {
            is_rival[other - self.from] = true;
            against += u32::from(!reaches.has(place, other));
        }
        let is_own = |other: usize| !is_rival[other - self.from];
        let own = self.ending(reaches, &is_own).of(place)
            + self.beginning(reaches, &is_own).of(place)
            - 1;
        let is_higher = reaches.links[place].ends.last.mwh > reaches.links[before].ends.last.mwh;
        let takes_turns = own >= TURNS_MIN && 3 * own.min(against) >= 2 * own.max(against);
        if takes_turns { is_higher } else { own > against || self.lasts(reaches, place, is_own) }
    }

    /// Returns whether two believed links continue each other across one that does not fit between
    /// them. Each link is judged by itself, so believed ones can contradict each other where true
    /// and old readings alternate for an hour. The energy across all of them is right; the energy
    /// from one to the next is not.
    fn is_spanned(self, reaches: &mut Reaches<'_>, judged: &[bool], place: usize) -> bool {
        (self.from..place).filter(|before| judged[*before]).any(|before| {
            let fits = reaches.has(before, place);
            (place + 1..=self.to)
                .filter(|after| judged[*after])
                .any(|after| !(fits && reaches.has(place, after)) && reaches.has(before, after))
        })
    }

    /// Returns whether a link is one of many in a row on its own side that each continue the one
    /// before.
    fn lasts(
        self,
        reaches: &mut Reaches<'_>,
        place: usize,
        is_own: impl Fn(usize) -> bool,
    ) -> bool {
        let (mut first, mut last) = (place, place);
        while first > self.from && is_own(first - 1) && reaches.has(first - 1, first) {
            first -= 1;
        }
        while last < self.to && is_own(last + 1) && reaches.has(last, last + 1) {
            last += 1;
        }
        last - first + 1 >= LASTING
    }
}
