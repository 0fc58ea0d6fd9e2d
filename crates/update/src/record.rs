//! The record that decides which slot starts, and the decision.
//!
//! The shell keeps it in two copies of which the newer complete one counts, so a record torn at any
//! byte leaves the one before.

use ecowatt_artifact::{HASH_BYTES, Hash, Image};

/// How often an image on trial may be started until it is confirmed: power cuts happen, and a roof
/// loses its power every evening.
pub const TRIAL_STARTS: u8 = 3;

/// Most images that are remembered as failed.
pub const FAILED_MAX: usize = 4;

/// Length of a record.
pub const RECORD_BYTES: usize = 5 + 2 * IMAGE_BYTES + FAILED_MAX * FAILED_BYTES;
const IMAGE_BYTES: usize = 4 + HASH_BYTES;
const FAILED_BYTES: usize = 8;
const VERSION: u8 = 1;

/// One of the two places for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageSlot {
    /// The first.
    A,
    /// The second.
    B,
}

impl ImageSlot {
    /// The other slot.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// What the slot that is not confirmed is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has the image that was confirmed before, if there is one.
    Settled {
        /// That image.
        previous: Option<Image>,
    },
    /// It is to be erased for an image. Nothing in it counts.
    Clearing {
        /// The image to write.
        image: Image,
    },
    /// It was erased, and pieces of an image are written. Nothing in it counts.
    Staging {
        /// The image that is written.
        image: Image,
    },
    /// It has a whole and verified image, which is started.
    Trial {
        /// That image.
        image: Image,
        /// How often it may still be started.
        starts_left: u8,
    },
}

/// Why an image was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revert {
    /// It was started as often as an image on trial may be, and never confirmed.
    TooManyStarts,
    /// It ran, but did not become healthy in time.
    Unhealthy,
    /// What was read back from the slot was not the image, several times.
    Spoiled,
}

/// What a device knows of its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The slot whose image is known to be good.
    pub confirmed: ImageSlot,
    /// That image.
    pub image: Image,
    /// The other slot.
    pub phase: Phase,
    /// How the last update ended, if it was given up.
    pub last: Option<Revert>,
    /// The beginnings of the hashes of images that were given up, newest last.
    pub failed: FailedImages,
}

/// The beginnings of hashes.
pub type FailedImages = heapless::Vec<[u8; FAILED_BYTES], FAILED_MAX>;

/// What starts after power-on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// The slot.
    pub slot: ImageSlot,
    /// A record that must be durable before the slot is started. If it cannot be made durable, the
    /// confirmed slot is started.
    pub record: Option<Record>,
}

/// Decides what starts: the first thing that happens after power-on, before any image runs.
#[must_use]
pub fn boot(record: &Record) -> Boot {
    match record.phase {
        Phase::Settled { .. } | Phase::Clearing { .. } | Phase::Staging { .. } => {
            Boot { slot: record.confirmed, record: None }
        }
        Phase::Trial { image, starts_left } => match starts_left.checked_sub(1) {
            Some(starts_left) => {
                let phase = Phase::Trial { image, starts_left };
                let counted = Record { phase, ..record.clone() };
                Boot { slot: record.confirmed.other(), record: Some(counted) }
            }
            None => {
                let reverted = record.reverted(image, Revert::TooManyStarts);
                Boot { slot: record.confirmed, record: Some(reverted) }
            }
        },
    }
}

impl Record {
    /// The record of a device that has never been updated.
    #[must_use]
    pub fn new(confirmed: ImageSlot, image: Image) -> Self {
        let phase = Phase::Settled { previous: None };
        Self { confirmed, image, phase, last: None, failed: heapless::Vec::new() }
    }

    /// Whether an image was given up earlier.
    #[must_use]
    pub fn has_failed(&self, image: &Image) -> bool {
        self.failed.contains(&beginning(&image.sha256))
    }

    /// The record with another phase of an update that goes on.
    pub(crate) fn with(self, phase: Phase) -> Self {
        Self { phase, last: None, ..self }
    }

    /// The record after an image was given up; it is not tried again.
    pub(crate) fn reverted(&self, image: Image, reason: Revert) -> Self {
        let mut record =
            Self { phase: Phase::Settled { previous: None }, last: Some(reason), ..self.clone() };
        let beginning = beginning(&image.sha256);
        record.failed.retain(|known| *known != beginning);
        if record.failed.is_full() {
            record.failed.remove(0);
        }
        let _ = record.failed.push(beginning);
        record
    }

    /// The record after the image on trial proved good.
    pub(crate) fn confirmed(&self, image: Image) -> Self {
        Self {
            confirmed: self.confirmed.other(),
            image,
            phase: Phase::Settled { previous: Some(self.image) },
            last: None,
            failed: self.failed.clone(),
        }
    }

    /// Writes the record.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; RECORD_BYTES] {
        let (phase, other, starts_left) = match self.phase {
            Phase::Settled { previous: None } => (0, None, 0),
            Phase::Settled { previous } => (1, previous, 0),
            Phase::Clearing { image } => (2, Some(image), 0),
            Phase::Staging { image } => (3, Some(image), 0),
            Phase::Trial { image, starts_left } => (4, Some(image), starts_left),
        };
        let confirmed = match self.confirmed {
            ImageSlot::A => 0,
            ImageSlot::B => 1,
        };
        let last = match self.last {
            None => 0,
            Some(Revert::TooManyStarts) => 1,
            Some(Revert::Unhealthy) => 2,
            Some(Revert::Spoiled) => 3,
        };
        let mut bytes = [0; RECORD_BYTES];
        let (head, rest) = bytes.split_at_mut(5);
        head.copy_from_slice(&[VERSION, confirmed, phase, starts_left, last]);
        let (images, failed) = rest.split_at_mut(2 * IMAGE_BYTES);
        let (places, _) = images.as_chunks_mut::<IMAGE_BYTES>();
        for (place, image) in places.iter_mut().zip([Some(self.image), other]) {
            let Some(Image { size, sha256 }) = image else { continue };
            let (size_place, hash_place) = place.split_at_mut(4);
            size_place.copy_from_slice(&size.to_be_bytes());
            hash_place.copy_from_slice(&sha256);
        }
        let (places, _) = failed.as_chunks_mut::<FAILED_BYTES>();
        // Newest last; empty places, which no hash begins with but by a chance of 2^-64, are zeros.
        places.iter_mut().zip(&self.failed).for_each(|(place, failed)| *place = *failed);
        bytes
    }

    /// Reads a record; `None` if it is damaged or of another version.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; RECORD_BYTES] = bytes.try_into().ok()?;
        let ([VERSION, confirmed, phase, starts_left, last], rest) = bytes.split_first_chunk()?
        else {
            return None;
        };
        let (image, rest) = image(rest)?;
        let (other, failed) = self::image(rest)?;
        let phase = match phase {
            0 => Phase::Settled { previous: None },
            1 => Phase::Settled { previous: Some(other) },
            2 => Phase::Clearing { image: other },
            3 => Phase::Staging { image: other },
            4 => Phase::Trial { image: other, starts_left: *starts_left },
            _ => return None,
        };
        let confirmed = match confirmed {
            0 => ImageSlot::A,
            1 => ImageSlot::B,
            _ => return None,
        };
        let last = match last {
            0 => None,
            1 => Some(Revert::TooManyStarts),
            2 => Some(Revert::Unhealthy),
            3 => Some(Revert::Spoiled),
            _ => return None,
        };
        let (places, _) = failed.as_chunks::<FAILED_BYTES>();
        let failed = places.iter().copied().filter(|failed| *failed != [0; _]).collect();
        let record = Self { confirmed, image, phase, last, failed };
        (record.to_bytes() == *bytes).then_some(record)
    }
}

fn image(bytes: &[u8]) -> Option<(Image, &[u8])> {
    let (size, rest) = bytes.split_first_chunk()?;
    let (sha256, rest) = rest.split_first_chunk()?;
    Some((Image { size: u32::from_be_bytes(*size), sha256: *sha256 }, rest))
}

fn beginning(hash: &Hash) -> [u8; FAILED_BYTES] {
    let mut beginning = [0; FAILED_BYTES];
    beginning.copy_from_slice(&hash[..FAILED_BYTES]);
    beginning
}
