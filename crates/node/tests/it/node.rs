//! A node alone: its core on a disk in memory, in virtual time, with a simple server.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ecowatt_codec::TimeBase;
use ecowatt_device::{
    CompletedRead, Ending, LinkFailure, Permissions, ReadResult, ReplyError, limits,
};
use ecowatt_envelope::DeviceKey;
use ecowatt_model::setting::{SAMPLING_INTERVAL, UPLOAD_INTERVAL};
use ecowatt_model::{MonoMs, SourceNumber, UnixMs};
use ecowatt_node::storage::{Area, Areas as _, Identity, Ledger, Record, Recovered, SendOrder};
use ecowatt_node::{
    Message, Node, NodeAction, NodeConfig, SourceControls, SourceSetup, WorkOutcome,
};
use ecowatt_profile::{TransportKind, catalogue};
use ecowatt_wire::{
    BootReason, Certainty, CommandAction, CommandState, ConfigState, LAYOUT_MAX, SourceState,
};

use crate::rig::disk::{Platter, TestDisk, Unsynced};
use crate::rig::kept::{KID, Kept, Row, take};

const COLUMNS: usize = 16;
const ROWS: usize = 256;
type TestNode = Node<TestDisk, COLUMNS, ROWS>;

/// 2026-01-01T12:00:00Z, when the node is switched on for the first time.
const NOON: i64 = 1_767_268_800_000;
const MINUTE: u64 = 60_000;
const LATENCY: Duration = Duration::from_millis(20);

/// How the server treats a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replies {
    Well,
    /// The server is unreachable.
    Away,
    /// The server stores the message, but one bit of its reply is flipped.
    Corrupt,
}

/// How the inverter behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// It answers and produces power.
    Well,
    /// It answers and produces nothing.
    Dark,
    Silent,
}

/// A node and its surroundings.
struct Rig {
    node: Option<TestNode>,
    disk: TestDisk,
    spool_bytes: u64,
    now: MonoMs,
    /// Error of the system clock.
    clock_error_ms: i64,
    reads: u16,
    inverter: Answers,
    replies: Replies,
    /// The inverter stops answering during the next exchange, which takes ten minutes.
    falls_silent: bool,
    /// The disk has no room while a reply is processed.
    is_full_at_reply: bool,
    kept: Kept,
    /// Samples that were taken; `drafted` has those that the draft accepted.
    taken: Vec<Row>,
    /// The true time of each sample, by epoch and the sample's own time.
    truths: BTreeMap<(u32, i64), i64>,
    drafted: Vec<Row>,
    recovered: Vec<Recovered>,
    messages: Vec<Message>,
    storage_failures: usize,
    persisted: usize,
    freed: usize,
    refusals: Vec<ReplyError>,
    /// Ends of epochs because of commands: the number of disk operations before each.
    ends: Vec<usize>,
}

impl Rig {
    fn new(spool_bytes: u64) -> Self {
        let disk = TestDisk::default();
        let identity = Identity {
            device: KID.device.0,
            key_generation: KID.generation.0,
            claim_id: "test".into(),
            key: vec![9; 32],
        };
        let mut ledger = Ledger::open(disk.clone()).unwrap();
        ledger.store(Record { identity: Some(identity), ..Record::default() }).unwrap();
        Self::on(disk, spool_bytes)
    }

    /// A node on a disk with an identity.
    fn on(disk: TestDisk, spool_bytes: u64) -> Self {
        let mut kept = Kept::default();
        kept.key = Some(DeviceKey::new([9; 32]));
        let mut rig = Self {
            node: None,
            disk,
            spool_bytes,
            now: MonoMs(0),
            clock_error_ms: 0,
            reads: 0,
            inverter: Answers::Well,
            replies: Replies::Well,
            falls_silent: false,
            is_full_at_reply: false,
            kept,
            taken: Vec::new(),
            truths: BTreeMap::new(),
            drafted: Vec::new(),
            recovered: Vec::new(),
            messages: Vec::new(),
            storage_failures: 0,
            persisted: 0,
            freed: 0,
            refusals: Vec::new(),
            ends: Vec::new(),
        };
        rig.start();
        rig
    }

    /// Starts an epoch after a power cut, or for the first time.
    fn start(&mut self) {
        drop(self.node.take());
        let profile = catalogue::find("ecowatt/seed-sim").unwrap();
        let compiled = profile.compile(profile.link_cost(TransportKind::Tcp)).unwrap();
        let config = NodeConfig {
            spool_bytes: self.spool_bytes,
            message_bytes: 8 * 1024,
            upload_interval: Duration::from_secs(900),
            order: SendOrder::BacklogOldestFirst,
            start_tolerance: limits::START_TOLERANCE,
            log_level: None,
            permissions: Permissions::default(),
            firmware: "test 1",
            seed: 7,
        };
        let source = SourceSetup {
            number: SourceNumber(0),
            plan: compiled.plan,
            controls: SourceControls::default(),
            layout: compiled.layout.to_cbor(),
            interval: Some(Duration::from_secs(60)),
            timeout_max: Duration::from_secs(1),
        };
        let ledger = Ledger::open(self.disk.clone()).unwrap();
        let at = (self.now, Some(self.system()));
        let node = Node::start(&config, ledger, self.disk.clone(), vec![source], || at).unwrap();
        self.node = Some(node);
    }

    fn truth(&self) -> UnixMs {
        UnixMs(NOON).plus(self.now.since(MonoMs(0)))
    }

    fn system(&self) -> UnixMs {
        UnixMs(self.truth().0 + self.clock_error_ms)
    }

    fn node(&mut self) -> &mut TestNode {
        self.node.as_mut().unwrap()
    }

    /// The state of the inverter in the node.
    fn state(&mut self) -> SourceState {
        self.node().core().sources().next().unwrap().state
    }

    fn run(&mut self, minutes: u64) {
        let until = MonoMs(self.now.0 + minutes * MINUTE);
        loop {
            self.act();
            let next = self.node().poll_at().max(MonoMs(self.now.0 + 1));
            if next > until {
                self.now = until;
                return;
            }
            self.now = next;
        }
    }

    fn act(&mut self) {
        let (now, system) = (self.now, self.system());
        self.node().handle_clock(now, system);
        while let Some(next) = self.node().poll(now) {
            match next {
                NodeAction::Read { source, read, timeout: _ } => {
                    self.reads = self.reads.wrapping_add(1);
                    // Without a pattern, so that they do not compress.
                    let word = |at: u16| (at + 1).wrapping_mul(self.reads).wrapping_mul(40_503);
                    let words: Vec<u16> = match self.inverter {
                        Answers::Dark => vec![0; read.count.into()],
                        Answers::Well | Answers::Silent => (0..read.count).map(word).collect(),
                    };
                    let result = match self.inverter {
                        Answers::Silent => ReadResult::Timeout,
                        Answers::Well | Answers::Dark => ReadResult::Words(&words),
                    };
                    let outcome = CompletedRead { began: now, latency: LATENCY, result };
                    self.node().handle_read(now, source, &outcome);
                }
                NodeAction::Work(work) => {
                    let done = self.node().carry_out(work, || now);
                    self.take(done);
                }
                NodeAction::Write { write, .. } => panic!("{write:?}"),
                NodeAction::End(ending) => {
                    assert_eq!(ending, Ending::Restart);
                    self.ends.push(self.disk.op_count());
                    self.start();
                }
            }
            let recovered = self.node().take_recovered();
            self.recovered.extend(recovered);
            let (spool_bytes, node) = (self.spool_bytes, self.node());
            assert!(node.memory_bytes() <= TestNode::memory_bytes_max(spool_bytes, 1));
            assert!(node.report().bytes <= spool_bytes, "{:?}", node.report());
        }
    }

    fn take(&mut self, done: WorkOutcome) {
        self.storage_failures += usize::from(matches!(done.storage(), Some(Err(_))));
        match done {
            WorkOutcome::Drafted { source, result } => {
                let node = self.node.as_ref().unwrap();
                let sample = node.newest(source).unwrap();
                let row = Row {
                    epoch: node.epoch().0,
                    is_unix: sample.base == TimeBase::Unix,
                    t_ms: sample.t_ms,
                    words: sample.words.to_vec(),
                    marks: sample.marks.iter().map(|mark| mark.code()).collect(),
                };
                self.truths.insert((row.epoch, row.t_ms), self.truth().0);
                if result.is_ok() {
                    self.drafted.push(row.clone());
                }
                self.taken.push(row);
            }
            WorkOutcome::Persisted { result, .. } => self.persisted += usize::from(result.is_ok()),
            WorkOutcome::Reserved { .. } | WorkOutcome::Kept { .. } => {}
            WorkOutcome::Composed { message, .. } => self.send(message),
            WorkOutcome::NotCut(_) | WorkOutcome::NotComposed { .. } => panic!("{done:?}"),
        }
    }

    fn send(&mut self, message: Message) {
        let now = self.now;
        if self.replies == Replies::Away {
            self.node().handle_link_failure(now, LinkFailure::Unreachable);
            return;
        }
        self.kept.time = Some(self.truth());
        let mut reply = take(&mut self.kept, &message.bytes).unwrap();
        assert_eq!(self.kept.counters.last(), Some(&message.request.counter.0));
        if std::mem::take(&mut self.falls_silent) {
            self.inverter = Answers::Silent;
            self.run(10);
        }
        let now = self.now;
        if self.replies == Replies::Corrupt {
            *reply.last_mut().unwrap() ^= 1;
        }
        if self.is_full_at_reply {
            self.disk.set_room(Some(self.disk.bytes()));
        }
        let answer = self.node().handle_reply(&reply, || now);
        if self.is_full_at_reply {
            self.disk.set_room(None);
        }
        match answer {
            Ok(freed) => {
                let is_freed = |id| {
                    freed.ranges.iter().any(|range| (&range.first..=&range.last).contains(&id))
                };
                assert_eq!(freed.drops_known, message.dropped.len());
                self.freed += message.batches.iter().filter(|id| is_freed(id)).count();
                self.storage_failures += usize::from(freed.result.is_err());
            }
            Err(error) => self.refusals.push(error),
        }
        self.messages.push(message);
    }

    /// Has everything cut and sent, and checks that the server has all samples from `first` on.
    #[track_caller]
    fn check_all_stored_from(&mut self, first: usize) {
        let now = self.now;
        self.node().flush(now);
        self.act();
        let node = self.node();
        assert_eq!((node.core().buffered(), node.report().batches), (0, 0));
        assert_eq!(self.kept.violations, Vec::<String>::new());
        let stored: Vec<&Row> = self.kept.batches.values().flatten().collect();
        let taken: Vec<&Row> = self.taken[first..].iter().collect();
        assert_eq!(stored.len(), taken.len());
        let difference = stored.iter().zip(&taken).find(|(stored, taken)| stored != taken);
        assert_eq!(difference, None);
    }
}

#[test]
fn a_node_without_a_network_keeps_everything_across_power_cuts() {
    let mut rig = Rig::new(1024 * 1024);
    rig.replies = Replies::Away;
    let mut unbatched = 0;
    for day in 1..=3 {
        rig.run(24 * 60 + 7);
        assert_eq!(rig.taken.len(), rig.drafted.len());
        let taken = u64::try_from(rig.taken.len()).unwrap();
        let node = rig.node();
        let buffered = u64::try_from(node.core().buffered()).unwrap();
        assert_eq!((node.epoch().0, node.report().samples + buffered), (day, taken));
        assert_eq!(node.report().dropped_samples, 0);
        unbatched += buffered;
        rig.start();
        assert_eq!(rig.node().boot_reason(), BootReason::Unclean);
    }
    assert!(rig.taken.len() >= 3 * 24 * 60, "{}", rig.taken.len());
    rig.replies = Replies::Well;
    rig.run(60);
    let recovered: u64 = rig.recovered.iter().map(|batch| u64::from(batch.rows)).sum();
    assert_eq!(recovered, unbatched);
    assert!(unbatched > 0);
    rig.check_all_stored_from(0);
}

#[test]
fn a_reply_frees_what_it_acknowledges_and_nothing_else_does() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(2 * 60);
    let (freed, answered) = (rig.freed, rig.messages.len());
    assert_eq!((freed, rig.node().report().batches), (rig.persisted, 0));
    rig.replies = Replies::Corrupt;
    rig.run(2 * 60);
    let refused = rig.messages.len() - answered;
    assert!(refused > 5 && rig.refusals.len() == refused);
    assert!(rig.refusals.iter().all(|error| matches!(error, ReplyError::Open(_))));
    let waiting = rig.node().report().batches;
    assert_eq!((rig.freed, waiting), (freed, u64::try_from(rig.persisted - freed).unwrap()));
    assert!(waiting > 0);
    rig.replies = Replies::Well;
    rig.run(30);
    rig.check_all_stored_from(0);
    assert_eq!(rig.freed, rig.persisted);
    // An unexpected reply frees nothing either.
    let now = rig.now;
    let late = rig.node().handle_reply(&[0; 40], || now);
    assert!(matches!(late, Err(ReplyError::NotExpected)), "{late:?}");
}

#[test]
fn an_inverter_that_sleeps_still_sleeps_after_a_restart_and_not_for_ever() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(60);
    assert_eq!(rig.state(), SourceState::Online);
    rig.inverter = Answers::Dark;
    rig.run(20);
    rig.inverter = Answers::Silent;
    // Three restarts in one night, and no failure is reported to the server.
    for _ in 0..3 {
        rig.run(4 * 60);
        rig.start();
        rig.run(10);
        assert_eq!(
            (rig.state(), &rig.kept.states[..]),
            (SourceState::Asleep, &[SourceState::Asleep][..])
        );
    }
    // Longer than any night.
    rig.run(9 * 60);
    assert_eq!(
        (rig.state(), &rig.kept.states[..]),
        (SourceState::Offline, &[SourceState::Offline][..])
    );
    rig.inverter = Answers::Well;
    rig.run(20);
    assert_eq!(
        (rig.state(), &rig.kept.states[..]),
        (SourceState::Online, &[SourceState::Online][..])
    );
}

#[test]
fn a_state_that_changes_while_a_message_is_under_way_is_told_by_the_next() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(60);
    assert_eq!(rig.kept.states, [SourceState::Online]);
    rig.falls_silent = true;
    rig.run(30);
    assert!(!rig.falls_silent);
    assert_eq!(
        (rig.state(), &rig.kept.states[..]),
        (SourceState::Offline, &[SourceState::Offline][..])
    );
}

#[test]
fn settings_are_used_and_survive_a_restart() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(20);
    assert_eq!(rig.kept.reported(), Some((0, ConfigState::Applied)));
    rig.kept.want(&[(SAMPLING_INTERVAL, 30_000), (UPLOAD_INTERVAL, 300_000)]);
    rig.run(20);
    assert_eq!(rig.kept.reported(), Some((1, ConfigState::Applied)));
    let interval = |rig: &Rig| {
        let times: Vec<i64> = rig.taken.iter().rev().take(2).map(|row| row.t_ms).collect();
        times[0] - times[1]
    };
    assert_eq!(interval(&rig), 30_000);
    rig.start();
    rig.run(20);
    assert_eq!(interval(&rig), 30_000);
    let report = rig.kept.reports.last().unwrap();
    assert_eq!((report.generation, report.state), (1, ConfigState::Applied));
    assert_eq!(report.value(UPLOAD_INTERVAL), Some(300_000));
    rig.check_all_stored_from(0);
}

#[test]
fn settings_wait_for_a_full_disk() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(20);
    rig.disk.set_full(Some("desired"));
    rig.kept.want(&[(SAMPLING_INTERVAL, 30_000)]);
    rig.run(60);
    assert!(rig.storage_failures > 60, "{}", rig.storage_failures);
    assert_eq!(rig.kept.reported(), Some((0, ConfigState::Applied)));
    rig.start();
    rig.run(60);
    assert_eq!(rig.kept.reported(), Some((0, ConfigState::Applied)));
    rig.disk.set_full(None);
    rig.run(20);
    assert_eq!(rig.kept.reported(), Some((1, ConfigState::Applied)));
    rig.check_all_stored_from(0);
}

#[test]
fn a_power_cut_at_any_write_executes_no_command_twice() {
    let order = |rig: &mut Rig| {
        rig.kept.time = Some(rig.truth());
        let restart = rig.kept.order(None, CommandAction::Restart);
        (restart, rig.kept.order(None, CommandAction::Upload))
    };
    let mut whole = Rig::new(1024 * 1024);
    whole.run(20);
    let before = whole.disk.op_count();
    order(&mut whole);
    whole.run(40);
    let (ops, after) = (whole.disk.ops(), whole.disk.op_count());
    assert_eq!((whole.ends.len(), whole.kept.violations.len()), (1, 0));
    let mut platter = Platter::default();
    ops[..before].iter().for_each(|op| platter.apply(op));
    let mut repeats = 0;
    for (at, op) in (before..after).zip(&ops[before..after]) {
        let ended = whole.ends.iter().filter(|ops| **ops <= at).count();
        for cut in [0, op.cuts() / 2, op.cuts() - 1] {
            for unsynced in Unsynced::ALL {
                let disk = TestDisk::holding(platter.cut(op, cut, unsynced));
                let mut rig = Rig::on(disk, 1024 * 1024);
                // The server has heard of none of them.
                let (restart, upload) = order(&mut rig);
                rig.run(40);
                let state = |id| rig.kept.ended(id).map(|ended| ended.state).unwrap();
                assert!(ended + rig.ends.len() <= 1, "at {at}: it was restarted twice");
                let expected = [CommandState::Succeeded, CommandState::Unknown];
                assert!(expected.contains(&state(restart)) && expected.contains(&state(upload)));
                assert!(ended == 0 || state(restart) == CommandState::Succeeded, "at {at}");
                repeats += usize::from(ended == 0 && rig.ends.len() == 1);
            }
        }
        platter.apply(op);
    }
    assert!(repeats > 0, "it was always durable");
}

#[test]
fn a_full_disk_costs_no_sample() {
    let mut rig = Rig::new(1024 * 1024);
    rig.replies = Replies::Away;
    rig.run(60);
    rig.disk.set_room(Some(rig.disk.bytes() + 100));
    rig.run(3 * 60);
    let undrafted = rig.taken.len() - rig.drafted.len();
    assert!(undrafted > 100 && rig.storage_failures > undrafted, "{undrafted}");
    assert!(rig.node().core().buffered() >= undrafted);
    rig.disk.set_room(None);
    rig.replies = Replies::Well;
    rig.run(60);
    rig.check_all_stored_from(0);
}

#[test]
fn a_full_disk_is_left_alone_for_a_while_however_often_samples_are_flushed() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(10);
    rig.disk.set_room(Some(rig.disk.bytes()));
    rig.run(2);
    // As an agent does in each of its turns that waits to change a layout.
    let (end, failures, mut turns) = (MonoMs(rig.now.0 + 5 * MINUTE), rig.storage_failures, 0);
    while rig.now < end {
        let now = rig.now;
        rig.node().flush(now);
        rig.act();
        rig.node().flush(now);
        rig.now = rig.node().poll_at().max(MonoMs(now.0 + 1)).min(end);
        turns += 1;
    }
    // One try in ten seconds, a sample a minute that is not drafted, and what is polled besides.
    let failures = rig.storage_failures - failures;
    assert!((20..=60).contains(&failures) && turns < 200, "{failures} in {turns} turns");
    rig.disk.set_room(None);
    rig.run(1);
    let now = rig.now;
    rig.node().flush(now);
    rig.act();
    assert_eq!(rig.node().core().buffered(), 0);
    rig.check_all_stored_from(0);
}

#[test]
fn a_layout_in_use_is_sent_and_written_again_if_its_file_rots() {
    for is_dead in [false, true] {
        let mut rig = Rig::new(1024 * 1024);
        rig.run(60);
        let areas = rig.disk.list().unwrap();
        let area = areas.into_iter().find(|area| matches!(area, Area::Layout(_))).unwrap();
        let layout = rig.disk.read(area, LAYOUT_MAX).unwrap();
        if is_dead {
            rig.disk.set_dead(&area.to_string());
        } else {
            rig.disk.put(&area.to_string(), b"rotten");
        }
        // The server is a restored copy that does not have it.
        rig.kept.layouts.clear();
        rig.run(60);
        rig.check_all_stored_from(0);
        assert_eq!(rig.node().report().dropped_samples, 0);
        assert_eq!(rig.disk.read(area, LAYOUT_MAX).unwrap(), layout);
    }
}

#[test]
fn a_disk_that_is_full_for_long_costs_no_sample_that_was_on_it() {
    let mut rig = Rig::new(1024 * 1024);
    rig.replies = Replies::Away;
    rig.run(45);
    let before = rig.drafted.len();
    rig.disk.set_room(Some(rig.disk.bytes()));
    // Longer than the buffer in memory lasts.
    rig.run(u64::try_from(2 * ROWS).unwrap());
    rig.disk.set_room(None);
    rig.replies = Replies::Well;
    rig.run(60);
    assert!(before > 40 && rig.taken.len() - rig.drafted.len() > ROWS);
    rig.start();
    rig.run(20);
    let now = rig.now;
    rig.node().flush(now);
    rig.act();
    assert_eq!(rig.kept.violations, Vec::<String>::new());
    let rows: Vec<&Row> = rig.kept.batches.values().flatten().collect();
    let stored: BTreeSet<&Row> = rows.iter().copied().collect();
    assert_eq!(stored.len(), rows.len());
    let lost = rig.drafted.iter().filter(|sample| !stored.contains(sample));
    assert_eq!(lost.count(), 0);
}

#[test]
fn samples_that_no_storage_could_take_are_told_to_the_last() {
    for outages in 1..=2 {
        let mut rig = Rig::new(1024 * 1024);
        rig.run(45);
        for _ in 0..outages {
            rig.disk.set_room(Some(rig.disk.bytes()));
            // Longer than the buffer in memory lasts, with nothing in the draft.
            rig.run(u64::try_from(2 * ROWS).unwrap());
            rig.disk.set_room(None);
            rig.run(60);
        }
        let now = rig.now;
        rig.node().flush(now);
        rig.act();
        assert_eq!(rig.kept.violations, Vec::<String>::new());
        let stored: usize = rig.kept.batches.values().map(Vec::len).sum();
        let lost = u32::try_from(rig.taken.len() - stored).unwrap();
        assert!(lost > outages * 100, "{lost}");
        // They were in no batch, so each gap has the epoch's total, which only grows.
        let told: Vec<_> = rig.messages.iter().flat_map(|message| &message.dropped).collect();
        assert!(told.iter().all(|gap| !gap.is_batched()), "{told:?}");
        assert_eq!(told.iter().map(|gap| gap.samples).max(), Some(lost), "{told:?}");
        let report = rig.node().report();
        assert_eq!((report.batches, report.dropped_samples), (0, 0));
    }
}

#[test]
fn what_an_earlier_epoch_left_goes_before_later_samples_once_there_is_room() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(10);
    // Room for the ledger, but not for a batch.
    rig.disk.set_full(Some("spool"));
    rig.start();
    rig.run(10);
    assert_eq!((rig.node().epoch().0, rig.recovered.len()), (2, 0));
    rig.disk.set_full(None);
    rig.run(20);
    assert!(rig.recovered.len() == 1 && rig.recovered[0].id.epoch.0 == 1, "{:?}", rig.recovered);
    rig.check_all_stored_from(0);
}

#[test]
fn a_disk_that_fails_for_a_while_costs_no_sample() {
    let mut rig = Rig::new(64 * 1024);
    for _ in 0..8 {
        // At a different point of an upload each time.
        rig.run(23);
        rig.disk.set_failing(true);
        rig.run(41);
        rig.disk.set_failing(false);
    }
    assert!(rig.storage_failures > 8 * 41, "{}", rig.storage_failures);
    rig.run(30);
    rig.check_all_stored_from(0);
}

#[test]
fn what_cannot_be_noted_as_freed_is_sent_again_after_a_power_cut_alone() {
    let mut rig = Rig::new(1024 * 1024);
    rig.is_full_at_reply = true;
    rig.run(3 * 60);
    rig.check_all_stored_from(0);
    assert_eq!(rig.kept.resent, 0);
    assert!(rig.storage_failures > 5, "{}", rig.storage_failures);
    rig.start();
    assert!(rig.node().report().batches > 5);
    rig.is_full_at_reply = false;
    rig.run(60);
    rig.check_all_stored_from(0);
    assert!(rig.kept.resent > 5);
    rig.start();
    assert_eq!(rig.node().report().batches, 0);
}

#[test]
fn a_full_spool_drops_its_oldest_and_says_so() {
    let mut rig = Rig::new(32 * 1024);
    rig.replies = Replies::Away;
    rig.run(14 * 24 * 60);
    let report = rig.node().report();
    assert!(report.dropped_samples > 0, "{report:?}");
    rig.replies = Replies::Well;
    rig.run(60);
    let report = rig.node().report();
    let told: u32 = rig.messages.iter().flat_map(|m| &m.dropped).map(|gap| gap.samples).sum();
    assert_eq!(u64::from(told), report.dropped_samples);
    let lost = usize::try_from(report.dropped_samples).unwrap();
    rig.check_all_stored_from(lost);
}

#[test]
fn an_orderly_end_leaves_nothing_to_recover() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(70);
    rig.check_all_stored_from(0);
    let ledger = rig.node.take().unwrap().stop().unwrap();
    assert!(ledger.record().is_stopped);
    rig.start();
    assert_eq!(rig.node().boot_reason(), BootReason::Clean);
    assert_eq!(rig.node().take_recovered(), []);
}

#[test]
fn files_of_a_later_format_are_left_alone() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(5);
    let later = ["spool2-000000000001", "draft2-0000000001-0"];
    for name in later {
        rig.disk.put(name, b"as it is");
    }
    rig.start();
    rig.run(20);
    for name in later {
        assert_eq!(rig.disk.contents(name).as_deref(), Some(b"as it is".as_slice()));
    }
}

const HOUR_MS: i64 = 3_600_000;

impl Rig {
    /// Errors of the stored times of an epoch's rows in milliseconds, as (least, most), and the
    /// certainty of its start.
    fn placed(&self, epoch: u32) -> (i64, i64, Option<Certainty>) {
        let start = self.kept.starts.get(&epoch);
        let errors =
            self.kept.batches.values().flatten().filter(|row| row.epoch == epoch).map(|row| {
                let offset = if row.is_unix { 0 } else { start.unwrap().unix.0 };
                row.t_ms + offset - self.truths[&(epoch, row.t_ms)]
            });
        let errors: Vec<i64> = errors.collect();
        assert!(!errors.is_empty(), "nothing of epoch {epoch} is stored");
        let (least, most) = (errors.iter().min().unwrap(), errors.iter().max().unwrap());
        (*least, *most, start.map(|start| start.certainty))
    }

    /// The server is back, and has everything an hour later.
    fn deliver(&mut self) {
        self.replies = Replies::Well;
        self.run(60);
        self.check_all_stored_from(0);
    }
}

/// Sampling on the grid and the rounding of an interval may add up to a second.
fn is_right((least, most, _): (i64, i64, Option<Certainty>)) -> bool {
    least >= -1_000 && most <= 1_000
}

#[test]
fn samples_before_a_wrong_clock_was_put_right_by_the_server_are_at_their_right_time() {
    let since_1970 = NOON - 60_000;
    for error in [-2 * HOUR_MS, 5 * HOUR_MS + HOUR_MS / 2, -since_1970, 40 * 24 * HOUR_MS, -3_000] {
        let mut rig = Rig::new(1024 * 1024);
        rig.clock_error_ms = error;
        rig.replies = Replies::Away;
        rig.start();
        rig.run(3 * 60);
        rig.deliver();
        for epoch in rig.kept.batches.keys().map(|id| id.epoch.0).collect::<BTreeSet<_>>() {
            let placed = rig.placed(epoch);
            assert!(epoch == 1 || is_right(placed), "clock {error} ms off: {placed:?}");
            assert!(epoch == 1 || placed.2 == Some(Certainty::Confirmed), "{placed:?}");
        }
        assert!(rig.kept.batches.values().flatten().any(|row| row.is_unix && row.epoch == 2));
    }
}

#[test]
fn step_of_the_system_clock_without_a_server_counts_for_the_whole_epoch() {
    for error in [-2 * HOUR_MS, 5 * HOUR_MS + HOUR_MS / 2, -(NOON - 5_000)] {
        let mut rig = Rig::new(1024 * 1024);
        rig.deliver();
        rig.clock_error_ms = error;
        rig.replies = Replies::Away;
        rig.start();
        rig.run(4 * 60);
        // NTP sets the clock, and soon afterwards the power fails.
        rig.clock_error_ms = 0;
        rig.run(2);
        rig.start();
        rig.deliver();
        let placed = rig.placed(2);
        assert_eq!(placed.2, Some(Certainty::Estimated));
        assert!(is_right(placed), "clock {error} ms off: {placed:?}");
    }
}

#[test]
fn epoch_that_nobody_confirmed_is_marked_and_stays_within_what_is_known() {
    // Slow: the error cannot be detected.
    let mut rig = Rig::new(1024 * 1024);
    rig.run(26 * 60);
    rig.replies = Replies::Away;
    rig.clock_error_ms = -2 * HOUR_MS;
    rig.now = MonoMs(rig.now.0 + 3 * 60 * MINUTE);
    rig.start();
    rig.run(60);
    rig.clock_error_ms = 0;
    rig.start();
    rig.deliver();
    assert_eq!(rig.placed(2), (-2 * HOUR_MS, -2 * HOUR_MS, Some(Certainty::Estimated)));
    // Fast: the epoch ended before the next one began, which limits the error.
    let mut rig = Rig::new(1024 * 1024);
    rig.run(26 * 60);
    rig.replies = Replies::Away;
    rig.clock_error_ms = 5 * HOUR_MS;
    rig.start();
    rig.run(60);
    rig.clock_error_ms = 0;
    rig.start();
    rig.deliver();
    let (least, most, certainty) = rig.placed(2);
    assert!(least >= 0 && most <= 61_000, "{least} {most}");
    assert_eq!(certainty, Some(Certainty::Estimated));
    // The clock has the time of the last shutdown, hours before the last sample, which limits the
    // error.
    let mut rig = Rig::new(1024 * 1024);
    rig.run(26 * 60);
    rig.replies = Replies::Away;
    rig.run(30);
    rig.clock_error_ms = -24 * HOUR_MS;
    rig.start();
    rig.run(60);
    rig.clock_error_ms = 0;
    rig.start();
    rig.deliver();
    let (least, most, _) = rig.placed(2);
    assert!(least >= -61_000 && most <= 0, "{least} {most}");
}

#[test]
fn months_without_a_server_and_a_restart_a_day_lose_no_accuracy() {
    let mut rig = Rig::new(4 * 1024 * 1024);
    rig.run(10);
    rig.replies = Replies::Away;
    for day in 0..70_i64 {
        // On some days the clock is up to 0.8 s fast, on others right.
        rig.clock_error_ms = (day % 3) * 400;
        rig.start();
        rig.run(24 * 60);
    }
    rig.clock_error_ms = 0;
    rig.start();
    rig.replies = Replies::Well;
    rig.run(24 * 60);
    rig.check_all_stored_from(0);
    for epoch in 2..=71 {
        let placed = rig.placed(epoch);
        assert!(is_right(placed) && placed.2 == Some(Certainty::Estimated), "{epoch} {placed:?}");
    }
    assert!(is_right(rig.placed(72)));
}

#[test]
fn clock_that_is_never_set_keeps_epochs_in_order() {
    let mut rig = Rig::new(1024 * 1024);
    rig.run(10);
    rig.replies = Replies::Away;
    rig.clock_error_ms = -NOON;
    for _ in 0..5 {
        rig.start();
        rig.run(7 * 60);
    }
    rig.start();
    rig.deliver();
    // There were no pauses, so each epoch begins where the previous one ended.
    for epoch in 2..=6 {
        let (least, most, _) = rig.placed(epoch);
        assert!(least >= -10 * 61_000 && most <= 0, "{epoch}: {least} {most}");
    }
    assert!(is_right(rig.placed(7)));
}
