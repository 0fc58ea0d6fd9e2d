//! Events worth reporting; the shell decides which of them it logs.

use core::time::Duration;

use ecowatt_model::{BatchId, CommandId, ConfigGeneration, SourceNumber};
use ecowatt_profile::Table;
use ecowatt_wire::{
    BatchRefusal, CommandFailure, CommandState, ConfigState, LeaseCause, SourceState,
};
use heapless::Deque;

use crate::limits::EVENTS_MAX;

/// Why a message brought no valid reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkFailure {
    /// No connection, a broken one, or no answer in time.
    Unreachable,
    /// The server is overloaded or stopping; it may say when to retry.
    Busy { retry_after: Option<Duration> },
    /// The server answered with another status than that of a reply.
    Refused { status: u16 },
    /// The answer is not the sealed reply to the message.
    BadReply,
}

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The link to an inverter changed its state.
    Source { source: SourceNumber, from: SourceState, to: SourceState },
    /// Reading these registers fails; they are not requested from here on.
    Quarantined { source: SourceNumber, table: Table, address: u16, count: u16 },
    /// Quarantined registers can be read again.
    Released { source: SourceNumber, table: Table, address: u16, count: u16 },
    /// The inverter, or a gateway in front of it, answers reads of at most this many registers.
    /// Longer reads are split from here on.
    ReadsShortened { source: SourceNumber, registers: u16 },
    /// SunSpec models are not at the addresses in the plan. The sample has none of their values.
    ModelsMoved { source: SourceNumber },
    /// The oldest sample of a full buffer was dropped because no batch could be persisted. If it
    /// was drafted, the shell still has it.
    SampleDropped { source: SourceNumber },
    /// A sample could not be written to the draft; it is in memory only until its batch is cut.
    SampleNotDrafted { source: SourceNumber },
    /// A batch could not be persisted; its samples stay in the buffer until a retry succeeds.
    BatchNotPersisted { source: SourceNumber },
    /// A batch was persisted for the first time since [`Event::BatchNotPersisted`].
    StorageRecovered,
    /// The time of day became known for the first time in this epoch.
    ClockSet,
    /// The clock was put forward (back, if negative): to the server's time or, before the server
    /// was heard, after the system clock.
    ClockStepped { by_ms: i64 },
    /// A message got no valid reply, for the first time since one did.
    LinkLost { failure: LinkFailure, retry_in: Duration },
    /// A valid reply came after `failures` messages without one.
    LinkRestored { failures: u32 },
    /// Settings from the server are on trial, stay in use, or have been given up; `refused` of their
    /// values are not used.
    Settings { generation: ConfigGeneration, state: ConfigState, refused: u8 },
    /// A command from the server was accepted or has ended.
    Command { id: CommandId, state: CommandState, failure: CommandFailure },
    /// A limit by leases has changed, or cannot be followed; in millionths of the rated power, `None`
    /// if what was found before is restored.
    Limit { source: SourceNumber, ppm: Option<u32>, cause: LeaseCause, failure: CommandFailure },
    /// The server will never take this batch; it is freed.
    BatchRefused { id: BatchId, reason: BatchRefusal },
}

/// Events not yet polled by the shell.
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
