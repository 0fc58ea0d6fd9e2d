//! What the machine asks for, and the outcomes that it takes.

use ecowatt_artifact::Image;

use crate::record::{ImageSlot, Revert};

/// What the shell does next. Each is answered by the method named with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make [`Update::record`](crate::Update::record) durable: `handle_kept`.
    Keep,
    /// Erase a slot, and make that durable: `handle_erased`.
    Erase(ImageSlot),
    /// Tell how many bytes a slot has: `handle_length`.
    Measure(ImageSlot),
    /// Fetch a piece of the payload with its proof: `handle_fetched`.
    Fetch {
        /// Number of the piece.
        index: u32,
    },
    /// Append the piece that was just fetched, without its first `skip` bytes, and make it durable:
    /// `handle_staged`.
    Stage {
        /// Where to.
        slot: ImageSlot,
        /// Bytes that are there already.
        skip: usize,
    },
    /// Read bytes of a slot: `handle_read`.
    Read {
        /// Which slot.
        slot: ImageSlot,
        /// Where they begin.
        offset: u32,
        /// How many; never more than a piece.
        length: u32,
    },
    /// Start the device again. The record is durable.
    Restart,
}

/// Why an offered image is not taken. The manifest itself was checked before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The image was tried here and given up.
    #[error("the image was given up on this device before")]
    FailedBefore,
    /// An image is on trial; one thing at a time.
    #[error("an image is on trial")]
    OnTrial,
    /// An action has not been answered. The same image may be offered again soon.
    #[error("the device is busy with its slots")]
    Busy,
    /// Payloads that are not the image itself are not built yet.
    #[error("the payload is not the image itself")]
    NotPlain,
}

/// What an image on trial must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Health {
    /// Each inverter that answered before was read, or sleeps.
    pub inverters_are_read: bool,
    /// A reply of the server was opened since the start.
    pub link_is_up: bool,
    /// The time is known, and not before the image was signed.
    pub time_is_sane: bool,
    /// Memory is within the program's budget.
    pub memory_is_within_budget: bool,
}

impl Health {
    /// Whether all of it is so.
    #[must_use]
    pub fn is_good(self) -> bool {
        let Self { inverters_are_read, link_is_up, time_is_sane, memory_is_within_budget } = self;
        inverters_are_read && link_is_up && time_is_sane && memory_is_within_budget
    }
}

/// How far an update is, to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is going on.
    Settled,
    /// The slot is being erased, or pieces are being fetched and written.
    Staging {
        /// The image.
        image: Image,
        /// Bytes of it that are durable.
        bytes: u32,
    },
    /// The whole image is being read back.
    Verifying(Image),
    /// It is chosen for the next start, or runs on trial.
    Trial(Image),
    /// The last update was given up.
    Reverted(Revert),
}
