//! Finds the areas on the flash at the start.

use alloc::vec::Vec;

use super::frame::{Rest, Walk};
use super::head::{Head, Name, Owner, Trace};
use super::partition::{Extent, Part, Partition, Sector, State};
use super::retired_sectors::Entry;
use super::{Event, Flash, OpenError, SECTOR_BYTES, SECTORS_MAX, SECTORS_MIN, index};
use crate::storage::{Area, Fault, SmallArea};

/// Attempts to read a head.
const READ_ATTEMPTS_MAX: usize = 3;
/// Heads that may turn unreadable from one start to the next. More at once are a failing chip.
const UNREADABLE_MAX: usize = 4;

/// A head that says that its sector belongs to an area.
type Claim = (Owner, u32);

/// A sector that a cut left with an owner, and what ends with it.
type Leftover = (u32, Trace);

/// What the heads say.
#[derive(Default)]
struct Heads {
    claims: Vec<Claim>,
    /// Lives of areas that were erased, maybe not completely.
    ended: Vec<u32>,
    /// Sectors whose heads cannot be read.
    unreadable: Vec<u32>,
    /// Sectors of which it is noted that their area continues.
    with_next: Vec<u32>,
    /// First sectors of the lives in `ended`, by life.
    ends: Vec<(u32, u32)>,
}

impl<F: Flash> Partition<F> {
    pub(super) fn mount(&mut self) -> Result<(), OpenError> {
        let mut heads = self.read_heads()?;
        self.exclude_retired(&mut heads);
        heads.check()?;
        let serials = heads.claims.iter().map(|(owner, _)| owner.serial.max(owner.life));
        self.serial = serials.chain(heads.ended.iter().copied()).max().unwrap_or(0);
        heads.claims.sort_unstable();
        let mut leftovers = Vec::new();
        for claims in heads.claims.chunk_by(|one, next| one.0.name == next.0.name) {
            match claims.first() {
                Some((owner, _)) if owner.name == Name::Retired => self.adopt_list(claims),
                Some(_) | None => {
                    let alive = heads.alive(claims, &mut leftovers);
                    self.adopt(&alive, &heads.with_next);
                }
            }
        }
        self.finish(&leftovers, &heads)?;
        let good = self.sectors.iter().filter(|s| s.state != State::Retired).count();
        if good < SECTORS_MIN {
            return Err(OpenError::WornOut { good, sectors: self.sectors.len() });
        }
        Ok(())
    }

    fn read_heads(&mut self) -> Result<Heads, OpenError> {
        let mut heads = Heads::default();
        let mut unknown = Vec::new();
        for sector in 0..self.flash.sectors().min(SECTORS_MAX) {
            let mut state = Sector { erasures: 0, state: State::Free, is_suspect: false };
            match self.read_head(sector) {
                Ok(head) => {
                    state.erasures = head.erasures.unwrap_or(0);
                    unknown.extend(head.erasures.is_none().then_some(sector));
                    heads.claims.extend(head.owner.map(|owner| (owner, sector)));
                    heads.ends.extend(head.ended.map(|life| (life, sector)));
                    heads.with_next.extend(head.has_next.then_some(sector));
                }
                Err(Fault::Closed) => return Err(OpenError::Chip(Fault::Closed)),
                Err(_) => {
                    heads.unreadable.push(sector);
                    unknown.push(sector);
                }
            }
            self.sectors.push(state);
        }
        // An erasure was cut, or this sector was never used by us. Assume the highest count, so
        // that it does not look less worn than it is.
        let most = self.sectors.iter().map(|sector| sector.erasures).max().unwrap_or(0);
        for sector in unknown {
            self.state(sector).erasures = most;
        }
        self.events.worn(most, super::RATED_ERASURES);
        heads.ended = heads.ends.iter().map(|(life, _)| *life).collect();
        Ok(heads)
    }

    fn read_head(&self, sector: u32) -> Result<Head, Fault> {
        let mut head = Head::read(&self.flash, sector);
        for _ in 1..READ_ATTEMPTS_MAX {
            if head.is_ok() {
                break;
            }
            head = Head::read(&self.flash, sector);
        }
        head
    }

    /// Reads the list of retired sectors and drops what those sectors say.
    fn exclude_retired(&mut self, heads: &mut Heads) {
        let mut entries = Vec::new();
        for (owner, sector) in &heads.claims {
            if owner.name == Name::Retired {
                entries.extend(Entry::read_all(&self.flash, *sector));
            }
        }
        for Entry { sector, life } in entries {
            if let Some(state) = self.sectors.get_mut(index(sector)) {
                state.state = State::Retired;
            }
            heads.ended.extend((life > 0).then_some(life));
        }
        let is_used = |sector: &u32| self.sectors[index(*sector)].state != State::Retired;
        heads.claims.retain(|(owner, sector)| is_used(sector) || owner.name == Name::Retired);
        heads.ends.retain(|(_, sector)| is_used(sector));
        heads.unreadable.retain(is_used);
    }

    /// Keeps all sectors of the list; it goes on in the newest one that works.
    fn adopt_list(&mut self, claims: &[Claim]) {
        let mut newest = None;
        for claim in claims {
            let state = self.state(claim.1);
            if state.state == State::Free {
                (state.state, newest) = (State::Held, Some(*claim));
            }
        }
        self.adopt(newest.as_slice(), &[]);
    }

    /// Builds an area of its sectors, which are ascending by offset.
    fn adopt(&mut self, claims: &[Claim], with_next: &[u32]) {
        let Some((owner, _)) = claims.first() else { return };
        let mut extent = Extent { life: owner.life, ..Extent::new(owner.name) };
        let mut is_damaged = false;
        for (place, (owner, sector)) in claims.iter().enumerate() {
            let (mut len, rest) = self.measure(*sector);
            let next = claims.get(place + 1).map(|(next, _)| next.offset);
            if let Some(next) = next {
                // A frame whose append failed may count here; the next sector has its bytes.
                len = len.min(next - owner.offset);
                is_damaged |= owner.offset + len < next;
            } else {
                extent.tail = if let Rest::Room(tail) = rest { tail } else { SECTOR_BYTES };
                extent.len = owner.offset.saturating_add(len);
                // How much was lost is unknown; one byte that cannot be read tells of it.
                if rest == Rest::Damaged || with_next.contains(sector) {
                    is_damaged = true;
                    (extent.len, extent.tail) = (extent.len.saturating_add(1), SECTOR_BYTES);
                }
            }
            extent.parts.push(Part { sector: *sector, offset: owner.offset, len });
            let state = self.state(*sector);
            state.is_suspect |= rest == Rest::Damaged;
            if state.state == State::Free {
                state.state = State::Held;
            }
        }
        is_damaged |= owner.offset > 0;
        if let Name::Area(area) = owner.name
            && is_damaged
        {
            self.events.push(Event::Damaged(area));
        }
        self.areas.push(extent);
    }

    /// Counts the bytes in a sector.
    fn measure(&self, sector: u32) -> (u32, Rest) {
        let (mut walk, mut len) = (Walk::new(sector), 0);
        loop {
            match walk.next(&self.flash) {
                Ok(Some(frame)) => len += frame.counted(),
                Ok(None) => return (len, walk.rest(&self.flash).unwrap_or(Rest::Damaged)),
                Err(_) => return (len, Rest::Damaged),
            }
        }
    }

    /// Finishes what a cut has interrupted.
    fn finish(&mut self, leftovers: &[Leftover], heads: &Heads) -> Result<(), OpenError> {
        // The first sectors of ended lives are evidence until the others are free.
        let evidence = heads.ends.iter().map(|(_, sector)| sector);
        for sector in evidence.chain(leftovers.iter().map(|(sector, _)| sector)) {
            self.state(*sector).state = State::Held;
        }
        let mut lives_left = Vec::new();
        for (sector, trace) in leftovers {
            match (self.release(*sector, *trace), trace) {
                (Ok(()), _) => self.set_free(*sector),
                (Err(Fault::Closed), _) => return Err(OpenError::Chip(Fault::Closed)),
                (Err(_), Trace::Life(life)) => lives_left.push(*life),
                (Err(_), Trace::None) => {}
            }
        }
        for (life, sector) in &heads.ends {
            if !lives_left.contains(life) {
                self.state(*sector).state = State::Free;
            }
        }
        // A cut came before the note. Later bytes of the area depend on it.
        let continued: Vec<u32> = self
            .areas
            .iter()
            .flat_map(|extent| {
                let but_last = extent.parts.len().saturating_sub(1);
                extent.parts.iter().take(but_last).map(|part| part.sector)
            })
            .filter(|sector| !heads.with_next.contains(sector))
            .collect();
        for sector in continued {
            self.note_next(sector).map_err(OpenError::Chip)?;
        }
        for sector in &heads.unreadable {
            self.state(*sector).state = State::Retired;
            let _ = self.retire(*sector, Trace::None);
        }
        Ok(())
    }
}

impl Heads {
    /// Refuses to start where the cause is probably not a few bad sectors.
    fn check(&self) -> Result<(), OpenError> {
        let unreadable = self.unreadable.len();
        // A node without a ledger would begin at zero and use counters twice.
        let mut areas = self.claims.iter().filter(|(owner, _)| owner.name != Name::Retired);
        let is_ledger =
            |(owner, _): &Claim| matches!(owner.name, Name::Area(Area::Copy(SmallArea::Ledger, _)));
        let has_no_ledger = areas.clone().next().is_some() && !areas.any(is_ledger);
        if unreadable > UNREADABLE_MAX || unreadable > 0 && has_no_ledger {
            return Err(OpenError::Unreadable(unreadable));
        }
        Ok(())
    }

    /// Chooses among the sectors of one name, which are sorted, those that count.
    fn alive(&self, claims: &[Claim], leftovers: &mut Vec<Leftover>) -> Vec<Claim> {
        let mut alive: Vec<Claim> = Vec::new();
        let Some((newest, _)) = claims.last() else { return alive };
        let is_first = |(owner, _): &Claim| owner.life == newest.life && owner.offset == 0;
        // A cut has interrupted its erasure. Otherwise its first sector is lost.
        let is_over = self.ended.contains(&newest.life) && !claims.iter().any(is_first);
        for claim in claims {
            let (owner, sector) = claim;
            if is_over || owner.life != newest.life {
                leftovers.push((*sector, Trace::Life(owner.life)));
                continue;
            }
            // Of two sectors at one place, the later one has the higher serial number.
            let former = alive.pop_if(|(former, _)| former.offset == owner.offset);
            leftovers.extend(former.map(|(_, sector)| (sector, Trace::None)));
            alive.push(*claim);
        }
        alive
    }
}
