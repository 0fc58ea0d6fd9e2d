//! What the operator should know about the flash.

use alloc::vec::Vec;

use crate::storage::Area;

/// Events that wait for [`super::Nor::take_events`]; later ones are discarded.
const EVENTS_MAX: usize = 32;
/// Steps in which the use of the rated erasures is reported.
const WORN_STEP_PERCENT: u8 = 10;

/// Something that happened to the flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A sector failed and is never used again.
    Retired { sector: u32, erasures: u32 },
    /// A part of an area cannot be found or read; reported at each start while the area exists.
    Damaged(Area),
    /// The most worn sector has used another tenth of its rated erasures.
    Worn { used_percent: u8 },
}

#[derive(Debug, Default)]
pub(super) struct Events {
    waiting: Vec<Event>,
    /// Share of the rated erasures that was reported last.
    used_percent: u8,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.waiting.len() < EVENTS_MAX {
            self.waiting.push(event);
        }
    }

    pub(super) fn take(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.waiting)
    }

    /// The share of the rated erasures that a sector has used, if it is another step.
    pub(super) fn worn(&mut self, erasures: u32, rated: u32) -> Option<u8> {
        let steps = erasures / (rated / 100 * u32::from(WORN_STEP_PERCENT));
        let used = u8::try_from(steps).unwrap_or(u8::MAX).saturating_mul(WORN_STEP_PERCENT);
        let is_news = used > self.used_percent;
        self.used_percent = self.used_percent.max(used);
        is_news.then_some(used)
    }
}
