//! What the core wants people to know; the shell decides what becomes a log line.

use core::time::Duration;

use ecowatt_model::{BatchId, SourceNumber};
use ecowatt_profile::Table;
use ecowatt_wire::{Refusal, SourceState};
use heapless::Deque;

use crate::limits::EVENTS_MAX;
use crate::uplink::LinkFailure;

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The link to an inverter changed its state.
    Source { source: SourceNumber, from: SourceState, to: SourceState },
    /// Registers are left out from here on because reading them fails.
    Quarantined { source: SourceNumber, table: Table, address: u16, count: u16 },
    /// Registers that were left out can be read again.
    Released { source: SourceNumber, table: Table, address: u16, count: u16 },
    /// The inverter, or a gateway before it, carries at most so many registers in one read. Longer
    /// reads are split from here on.
    ReadsShortened { source: SourceNumber, registers: u16 },
    /// SunSpec models are not where the plan has them. None of their values are in the sample.
    ModelsMoved { source: SourceNumber },
    /// The oldest sample of a full buffer was dropped because no batch could be persisted. If it was
    /// drafted, the shell still has it.
    SampleDropped { source: SourceNumber },
    /// A sample could not be written to the draft; it is in memory only until its batch is cut.
    SampleNotDrafted { source: SourceNumber },
    /// A batch could not be persisted; its samples stay in the buffer and it is tried again.
    BatchNotPersisted { source: SourceNumber },
    /// Storage took a batch again.
    StorageRecovered,
    /// There is a time of day for the first time in this epoch.
    ClockSet,
    /// The clock was put forward (or back, if negative), by the server's time or, before that was
    /// heard, because the system clock was.
    ClockStepped { by_ms: i64 },
    /// The first message after a success that brought no valid reply.
    LinkLost { failure: LinkFailure, retry_in: Duration },
    /// A valid reply came after `failures` messages without one.
    LinkRestored { failures: u32 },
    /// The server will never take this batch; it is freed.
    BatchRefused { id: BatchId, reason: Refusal },
}

/// Events that wait for the shell.
#[derive(Debug, Default)]
pub(crate) struct Events(Deque<Event, EVENTS_MAX>);

impl Events {
    pub(crate) fn push(&mut self, event: Event) {
        if self.0.is_full() {
            self.0.pop_front();
        }
        // There is room: one was just taken out.
        let _ = self.0.push_back(event);
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.0.pop_front()
    }
}
