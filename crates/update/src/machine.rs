//! The state machine.

use core::time::Duration;

use ecowatt_artifact::{Admitted, Hash, Image, ImageCheck, PieceCheck, sha256};
use ecowatt_model::MonoMs;

use crate::action::{Action, Health, OfferError, Progress};
use crate::record::{ImageSlot, Phase, Record, Revert, TRIAL_STARTS};

/// How long an image on trial may run until it is healthy.
///
/// Two check-ins at the slowest permitted interval (15 min) may fail and a third one succeed; a
/// device that cannot reach its server by then is better off with its old image.
pub const TRIAL_MAX: Duration = Duration::from_secs(45 * 60);

/// Pause after something failed, which doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(30);
const PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// How often a slot is written for one image if what is read back is not the image. Each time costs
/// an erasure of the whole slot; flash that fails three times will fail again.
const SPOILED_MAX: u8 = 3;

/// Where the payload of an image comes from.
#[derive(Debug, Clone, Copy)]
struct Source {
    image: Image,
    pieces: PieceCheck,
}

/// What is done now. Each is answered by one event.
#[derive(Clone)]
enum Work {
    Rest,
    /// The record is to be made durable; `then` follows.
    Keep(Then),
    Erase,
    Measure,
    Fetch,
    /// A fetched piece continues one of which this many bytes are there, if they have this hash.
    Compare {
        there: usize,
        hash: Hash,
    },
    Stage {
        skip: usize,
    },
    ReadBack(ImageCheck),
    Restart,
}

/// What follows a record.
#[derive(Debug, Clone, Copy)]
enum Then {
    Rest,
    Erase,
    Fetch,
    Restart,
}

/// The update of one device.
#[derive(Clone)]
pub struct Update {
    /// The durable record, or the one that is being made durable.
    record: Record,
    /// What is durable while `record` is being kept.
    former: Option<Record>,
    running: ImageSlot,
    /// The image whose manifest was offered since the start. A record names the image alone.
    source: Option<Source>,
    work: Work,
    /// Whether an action was handed out and its event has not come.
    is_asked: bool,
    /// Bytes of the image that are durable in the slot, or were read back.
    done: u32,
    /// How often what was read back was not the image.
    spoiled: u8,
    pause: Duration,
    not_before: MonoMs,
    /// When an image on trial is given up.
    trial_ends: MonoMs,
}

impl Update {
    /// Starts with the durable record, in the slot that [`boot`](crate::boot) chose.
    #[must_use]
    pub fn start(record: Record, running: ImageSlot, now: MonoMs) -> Self {
        let mut update = Self {
            record,
            former: None,
            running,
            source: None,
            work: Work::Rest,
            is_asked: false,
            done: 0,
            spoiled: 0,
            pause: PAUSE_MIN,
            not_before: now,
            trial_ends: now.plus(TRIAL_MAX),
        };
        // The record names the other slot, and yet this one runs: it could not be counted.
        if let Phase::Trial { image, .. } = update.record.phase
            && !update.is_on_trial()
        {
            update.keep(update.record.reverted(image, Revert::TooManyStarts), Then::Rest);
        }
        update
    }

    /// The record to make durable on [`Action::Keep`], or the one that is durable.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// How far the update is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        match self.record.phase {
            Phase::Settled { .. } => self.record.last.map_or(Progress::Settled, Progress::Reverted),
            Phase::Clearing { image } => Progress::Staging { image, bytes: 0 },
            Phase::Staging { image } => match self.work {
                Work::ReadBack(_) => Progress::Verifying(image),
                Work::Rest
                | Work::Keep(_)
                | Work::Erase
                | Work::Measure
                | Work::Fetch
                | Work::Compare { .. }
                | Work::Stage { .. }
                | Work::Restart => Progress::Staging { image, bytes: self.done },
            },
            Phase::Trial { image, .. } => Progress::Trial(image),
        }
    }

    fn is_on_trial(&self) -> bool {
        self.running != self.record.confirmed
    }

    /// Takes an image. The same one may be offered with every reply; another one replaces it.
    ///
    /// # Errors
    /// If it is not taken; nothing has changed then.
    pub fn offer(&mut self, manifest: &Admitted<'_>) -> Result<(), OfferError> {
        let (image, payload) = (manifest.image, &manifest.payload);
        if payload.compression.is_some() || payload.base.is_some() || payload.encryption.is_some() {
            return Err(OfferError::NotPlain);
        }
        if self.record.has_failed(&image) {
            return Err(OfferError::FailedBefore);
        }
        if matches!(self.record.phase, Phase::Trial { .. }) || self.is_on_trial() {
            return Err(OfferError::OnTrial);
        }
        if self.is_asked {
            return Err(OfferError::Busy);
        }
        if image == self.record.image || self.source.is_some_and(|source| source.image == image) {
            return Ok(());
        }
        self.source = Some(Source { image, pieces: payload.pieces() });
        (self.spoiled, self.done) = (0, 0);
        match self.record.phase {
            // Goes on where the last start ended.
            Phase::Staging { image: staged } if staged == image => self.begin(Work::Measure),
            Phase::Clearing { image: cleared } if cleared == image => self.begin(Work::Erase),
            Phase::Settled { .. }
            | Phase::Clearing { .. }
            | Phase::Staging { .. }
            | Phase::Trial { .. } => {
                self.keep(self.durable().with(Phase::Clearing { image }), Then::Erase);
            }
        }
        Ok(())
    }

    /// Starts the image that was confirmed before, on trial, without a download. Returns whether
    /// there is one.
    pub fn go_back(&mut self) -> bool {
        let Phase::Settled { previous: Some(image) } = self.record.phase else { return false };
        if self.is_on_trial() || self.is_asked {
            return false;
        }
        let phase = Phase::Trial { image, starts_left: TRIAL_STARTS };
        self.keep(self.durable().with(phase), Then::Restart);
        true
    }

    /// Returns the next action. The one before must have been answered.
    pub fn poll(&mut self, now: MonoMs) -> Option<Action> {
        if self.is_on_trial() && now >= self.trial_ends {
            self.give_up_trial();
        }
        if self.is_asked || now < self.not_before {
            return None;
        }
        let slot = self.record.confirmed.other();
        let action = match &self.work {
            Work::Rest => return None,
            Work::Keep(_) => Action::Keep,
            Work::Erase => Action::Erase(slot),
            Work::Measure => Action::Measure(slot),
            Work::Fetch => Action::Fetch { index: self.place()?.index },
            Work::Compare { there, .. } => {
                let length = u32::try_from(*there).unwrap_or(0);
                Action::Read { slot, offset: self.done - length, length }
            }
            Work::Stage { skip } => Action::Stage { slot, skip: *skip },
            Work::ReadBack(_) => {
                let left = self.source?.image.size - self.done;
                let piece = u32::try_from(self.source?.pieces.length(0).ok()?).ok()?;
                Action::Read { slot, offset: self.done, length: left.min(piece) }
            }
            Work::Restart => Action::Restart,
        };
        self.is_asked = true;
        Some(action)
    }

    /// When to poll again without an event.
    #[must_use]
    pub fn poll_at(&self) -> Option<MonoMs> {
        let is_waiting = !self.is_asked && !matches!(self.work, Work::Rest);
        let trial = self.is_on_trial().then_some(self.trial_ends);
        is_waiting.then_some(self.not_before).into_iter().chain(trial).min()
    }

    /// Whether the record was made durable.
    pub fn handle_kept(&mut self, now: MonoMs, is_durable: bool) {
        let Work::Keep(then) = self.work else { return };
        if !is_durable {
            return self.later(now);
        }
        self.former = None;
        match then {
            Then::Rest => self.begin(Work::Rest),
            Then::Erase => self.begin(Work::Erase),
            Then::Fetch => self.go_on(),
            Then::Restart => self.begin(Work::Restart),
        }
    }

    /// Whether the slot was erased, durably.
    pub fn handle_erased(&mut self, now: MonoMs, is_erased: bool) {
        let (Work::Erase, Some(source)) = (&self.work, self.source) else { return };
        if !is_erased {
            return self.later(now);
        }
        self.done = 0;
        let phase = Phase::Staging { image: source.image };
        self.keep(self.durable().with(phase), Then::Fetch);
    }

    /// How many bytes the slot has; `None` if it cannot be told.
    pub fn handle_length(&mut self, now: MonoMs, length: Option<u32>) {
        let (Work::Measure, Some(source)) = (&self.work, self.source) else { return };
        match length {
            None => self.later(now),
            Some(length) if length > source.image.size => self.spoil(),
            Some(length) => {
                self.done = length;
                self.go_on();
            }
        }
    }

    /// A piece and its proof, or `None` if it could not be fetched. What is not the signed piece is
    /// never written.
    pub fn handle_fetched(&mut self, now: MonoMs, piece: Option<(&[u8], &[u8])>) {
        let (Work::Fetch, Some(source)) = (&self.work, self.source) else { return };
        let Some(Place { index, there }) = self.place() else { return };
        let is_signed = |(bytes, proof)| source.pieces.check(index, bytes, proof).is_ok();
        match piece.filter(|piece| is_signed(*piece)) {
            None => self.later(now),
            Some(_) if there == 0 => self.begin(Work::Stage { skip: 0 }),
            Some((bytes, _)) => {
                let hash = sha256(&bytes[..there.min(bytes.len())]);
                self.begin(Work::Compare { there, hash });
            }
        }
    }

    /// Whether the piece was appended, durably. If it was not, a part of it may be there.
    pub fn handle_staged(&mut self, now: MonoMs, is_durable: bool) {
        let (Work::Stage { skip }, Some(source)) = (&self.work, self.source) else { return };
        if !is_durable {
            self.work = Work::Measure;
            return self.later(now);
        }
        let Some(Place { index, .. }) = self.place() else { return };
        let length = source.pieces.length(index).unwrap_or(0) - skip;
        self.done += u32::try_from(length).unwrap_or(0);
        self.pause = PAUSE_MIN;
        self.go_on();
    }

    /// Bytes that were read from the slot; `None` if it cannot be read.
    pub fn handle_read(&mut self, now: MonoMs, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else { return self.later(now) };
        match &mut self.work {
            Work::Compare { there, hash } => {
                let skip = *there;
                if bytes.len() == skip && sha256(bytes) == *hash {
                    self.begin(Work::Stage { skip });
                } else {
                    self.spoil();
                }
            }
            Work::ReadBack(check) => {
                let is_sound = !bytes.is_empty() && check.update(bytes).is_ok();
                self.done =
                    self.done.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                if !is_sound {
                    return self.spoil();
                }
                self.is_asked = false;
                if self.source.is_some_and(|source| self.done >= source.image.size) {
                    self.decide();
                }
            }
            Work::Rest
            | Work::Keep(_)
            | Work::Erase
            | Work::Measure
            | Work::Fetch
            | Work::Stage { .. }
            | Work::Restart => {}
        }
    }

    /// What the device knows of its health. The first good one confirms an image on trial.
    pub fn handle_health(&mut self, health: Health) {
        if !self.is_on_trial() || !health.is_good() || !matches!(self.work, Work::Rest) {
            return;
        }
        if let Phase::Trial { image, .. } = self.record.phase {
            self.keep(self.record.confirmed(image), Then::Rest);
        }
    }

    /// The whole image was read back: only now may it be started.
    fn decide(&mut self) {
        let Work::ReadBack(check) = &self.work else { return };
        match (check.clone().finish(), self.source) {
            (Ok(()), Some(Source { image, .. })) => {
                let phase = Phase::Trial { image, starts_left: TRIAL_STARTS };
                self.keep(self.durable().with(phase), Then::Restart);
            }
            (Ok(()) | Err(_), _) => self.spoil(),
        }
    }

    fn give_up_trial(&mut self) {
        if let Phase::Trial { image, .. } = self.record.phase
            && matches!(self.work, Work::Rest)
        {
            self.keep(self.record.reverted(image, Revert::Unhealthy), Then::Restart);
        }
    }

    /// What is in the slot is not the image: begins again, or gives it up.
    fn spoil(&mut self) {
        let Some(Source { image, .. }) = self.source else { return };
        self.spoiled += 1;
        if self.spoiled < SPOILED_MAX {
            self.keep(self.durable().with(Phase::Clearing { image }), Then::Erase);
        } else {
            self.source = None;
            self.keep(self.durable().reverted(image, Revert::Spoiled), Then::Rest);
        }
    }

    /// The next piece, or, after the last one, a look at all of them.
    fn go_on(&mut self) {
        let work = match self.source {
            Some(source) if self.done >= source.image.size => {
                self.done = 0;
                Work::ReadBack(ImageCheck::new(source.image))
            }
            Some(_) | None => Work::Fetch,
        };
        self.begin(work);
    }

    /// The piece that continues what is durable.
    fn place(&self) -> Option<Place> {
        let piece = u32::try_from(self.source?.pieces.length(0).ok()?).ok()?;
        let there = usize::try_from(self.done % piece).ok()?;
        Some(Place { index: self.done / piece, there })
    }

    fn durable(&self) -> Record {
        self.former.clone().unwrap_or_else(|| self.record.clone())
    }

    fn keep(&mut self, record: Record, then: Then) {
        self.former = Some(self.durable());
        self.record = record;
        self.begin(Work::Keep(then));
    }

    fn begin(&mut self, work: Work) {
        (self.work, self.is_asked) = (work, false);
    }

    /// Asks again after a pause.
    fn later(&mut self, now: MonoMs) {
        self.is_asked = false;
        self.not_before = now.plus(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

/// A piece, and how many of its bytes are in the slot.
struct Place {
    index: u32,
    there: usize,
}
