//! An environment for one device: an inverter, flash, a network and a server, driven by a script.
//!
//! A script has one step per line:
//!
//! - `inverter well | quiet | gone | garbled | dusk | bad REGISTER | exception CODE | noise SECONDS`,
//!   where *noise* garbles one answer and suspends the device for this long before it sees it
//! - `server well | away | deaf | forgetful | stubborn | strange | busy SECONDS | pause SECONDS |
//!   holds SECONDS | waits | refuses REASON | leaves`, where *deaf* stores and loses the reply, *forgetful*
//!   asks for every layout again, *stubborn* takes none, *strange* stores nothing and asks for
//!   layouts that do not exist, *refuses* refuses every batch for that reason, and *leaves* is away
//!   once it has sent settings; *waits* holds the reply to a message that
//!   allows it until there is a command or a setting to send; `server restored` once forgets what was reported
//! - `want SETTING[@SOURCE]=VALUE…`: the server's settings from here on, under the next generation;
//!   SETTING may be a number
//! - `order KIND [ADDRESS COUNT | ADDRESS VALUE | PERMILLE | WATTS] [@SOURCE] [after=SECONDS] [by=SECONDS]`: a command under the next number, which is
//!   not to be begun earlier or later than this from here on (default: a minute), and is sent until
//!   its state is reported or its time is over; `order again NUMBER` sends one again
//! - `writes well | lost | unheard | refused CODE | ignored | unsent`: what comes of a write, where *lost* is
//!   executed without an answer, *unheard* is not executed and has none, and *ignored* is confirmed and
//!   not executed
//! - `lease PERMILLE [from=SECONDS] [for=SECONDS] [ramp=SECONDS] [lost=SECONDS] [then=PERMILLE] [@SOURCE]`:
//!   another lease from here on (default: at once, for 10 minutes, lost after a minute), under the next
//!   generation; `release NUMBER` without this one, `release all` without any
//! - `inverter forgets`: its registers are as they were at first
//! - `owner locks`: the device may not write from the next start on
//! - `time DIFFERENCE_MS` (what the server's clock shows, less the truth)
//! - `flash well | full | lasts`, where *lasts* leaves the device off once a command ends its epoch
//! - `system unset | DIFFERENCE_MS` (before `start`: the system clock minus the true time)
//! - `show KIND…` of read, keep, sample, cut, send, wait, report, result, lease, event, end
//! - `start`, `run DURATION`, `power cut`
//!
//! The rig checks the invariants: a counter seals once, a batch id has one content, every durable
//! sample is in the spool or on the server, the server stores every sample once, an inverter
//! whose sleep was kept is asleep after the next start, the reported generation never falls, the
//! settings in use are those of one generation, no command ends an epoch twice, and none is reported
//! as accepted after it has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use ecowatt_codec::{CodecMemory, Decoder, TimeBase, encoded_len_max};
use ecowatt_device::{
    Action, CompletedRead, Config, Controls, Credentials, Device, Ending, Inverter, LinkFailure,
    Permissions, ReadResult, Slot, SourceConfig, SpoolContents, StartInfo, UplinkConfig,
    WriteResult,
};
use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys, UnverifiedUplink, seal_reply};
use ecowatt_modbus::ExceptionCode;
use ecowatt_model::setting::{
    BATCH_ROWS, CHECK_IN_INTERVAL, COMMAND_WAIT, POWER_POLICY, REVERT_AFTER, SAMPLING_INTERVAL,
    UPLOAD_INTERVAL,
};
use ecowatt_model::{
    BatchId, BootEpoch, CommandId, ConfigGeneration, Counter, DeviceNumber, KeyGeneration,
    LeaseGeneration, LeaseId, Mark, MonoMs, Sequence, Setting, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_profile::{
    Control, ControlPlace, Group, Kind, Plan, Read, SleepCondition, SleepRule, SleepTest, Table,
    Verify, WordOrder, Write, WriteFunction,
};
use ecowatt_wire::{
    AckRange, Batch, BatchRefusal, BootReason, Command, CommandAction, CommandFailure,
    CommandResult, CommandState, ConfigState, Desired, DesiredLeases, EpochStart, Lease, Limit,
    LimitChange, RefusedBatch, ReplyWriter, Reported, ReportedLeases, SectionList, SettingValue,
    SourceState, Stream, Uplink,
};

pub(crate) const COLUMNS: usize = 10;
pub(crate) const ROWS: usize = 16;
/// A sample has at most three runs of cells with one mark, but for the quarantine.
const CELLS: usize = COLUMNS + 3;
type Core = Device<[Inverter<CELLS, ROWS>; 1], CELLS, ROWS>;

const SOURCE: SourceNumber = SourceNumber(0);
const STREAM: StreamNumber = StreamNumber(1);
const KID: KeyId = KeyId { device: DeviceNumber(7), generation: KeyGeneration(1) };
/// 2026-01-01T12:00:00Z, when every rig starts.
pub(crate) const NOON: i64 = 1_767_268_800_000;
const LATENCY: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Well,
    Quiet,
    Gone,
    Garbled,
    Dusk,
    Bad(u16),
    Exception(u8),
    Noise(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replies {
    Well,
    Away,
    Deaf,
    Forgetful,
    Stubborn,
    Strange,
    Busy(Duration),
    Pause(Duration),
    Holds(Duration),
    Waits,
    Refuses(u8),
    Leaves,
}

/// A message whose reply the server holds.
struct Waiting {
    message: Vec<u8>,
    since: MonoMs,
    until: MonoMs,
}

/// What comes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    Well,
    Lost,
    Unheard,
    Refused(u8),
    Ignored,
    Unsent,
}

/// The register of the limit, in percent of 5 kW.
const LIMIT: u16 = 21;

struct Catalogue;

impl Controls for Catalogue {
    fn find(&self, source: SourceNumber, point: &str) -> Option<Control> {
        let place = ControlPlace::Registers {
            address: LIMIT,
            kind: Kind::U16,
            word_order: WordOrder::Big,
            function: WriteFunction::Single,
            verify: Verify::Readback,
        };
        let (min, max, step) = (Some(10), Some(100), Some(5));
        let one_of = heapless::Vec::new();
        let control = Control { place, multiplier: 1, exponent: 0, min, max, step, one_of };
        (source == SOURCE && point == "control.p_limit").then_some(control)
    }

    fn rated_w(&self, _: SourceNumber) -> Option<u32> {
        Some(5_000)
    }
}

/// A sample in the form that flash, spool and server are compared in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    epoch: u32,
    is_unix: bool,
    pub(crate) t_ms: i64,
    words: [u16; COLUMNS],
    marks: [u8; COLUMNS],
}

/// Flash: what a power cut leaves.
#[derive(Debug, Default)]
struct Flash {
    is_full: bool,
    epoch: u32,
    reserved: u64,
    drafts: BTreeMap<u32, Row>,
    spool: BTreeMap<BatchId, Vec<u8>>,
    last: Option<BatchId>,
    kept: BTreeMap<&'static str, Vec<u8>>,
    /// When epochs began, for batches whose times count from there.
    starts: BTreeMap<u32, EpochStart>,
}

impl Flash {
    fn kept(&self, slot: Slot) -> Option<&[u8]> {
        self.kept.get(slot.name()).map(Vec::as_slice)
    }
}

#[derive(Debug, Default)]
struct Store {
    has_layout: bool,
    batches: BTreeMap<BatchId, Vec<u8>>,
    counters: BTreeSet<u64>,
    /// The settings of each generation; the last is wanted.
    wanted: BTreeMap<u32, Vec<SettingValue>>,
    /// The generation that was reported last.
    reported: Option<u32>,
    commands: Vec<Ordered>,
    /// All leases that there were, and which are not released.
    leases: Vec<(Lease, bool)>,
    lease_generation: u32,
    /// The generation of leases that was reported last.
    leases_reported: Option<u32>,
}

/// A command as the server keeps it.
#[derive(Debug)]
struct Ordered {
    command: Command<'static>,
    /// The state that was reported last.
    state: Option<CommandState>,
}

impl Ordered {
    fn is_over(&self) -> bool {
        !matches!(self.state, None | Some(CommandState::Accepted))
    }
}

/// The number of the first command.
const FIRST_COMMAND: u32 = 0x0102_0304;

/// When the power is cut, by the number of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PowerCut {
    pub(crate) at_action: usize,
    /// Whether the action is carried out before the cut.
    pub(crate) is_done: bool,
}

/// The environment of one device.
pub(crate) struct Rig {
    now: MonoMs,
    booted: MonoMs,
    core: Option<Core>,
    codec: Box<CodecMemory<COLUMNS>>,
    flash: Flash,
    store: Store,
    inverter: Answers,
    writes: Writes,
    is_locked: bool,
    /// What was written to the inverter's registers, in order.
    written: Vec<(u16, u16)>,
    /// Writes that the device asked for.
    asked: Vec<(u16, u16)>,
    server: Replies,
    /// The message whose reply the server holds.
    waiting: Option<Waiting>,
    system: Option<i64>,
    server_ahead_ms: i64,
    reads: u16,
    /// Whether the inverter was asleep in the slot as last kept.
    is_asleep: bool,
    durable: BTreeSet<Row>,
    shown: Vec<String>,
    transcript: String,
    cut: Option<PowerCut>,
    pub(crate) actions: usize,
    pub(crate) messages: usize,
    pub(crate) keeps: usize,
    /// The ends of epochs because of a command.
    ends: Vec<Ending>,
    stays_off: bool,
}

/// Runs a script and compares its transcript.
pub(crate) fn check(script: &str, expected: &str) {
    let mut rig = Rig::new(None);
    rig.run_script(script);
    let lines = |text: &str| text.lines().map(|l| l.trim().to_owned()).collect::<Vec<_>>();
    let expected: Vec<String> = lines(expected).into_iter().filter(|l| !l.is_empty()).collect();
    assert_eq!(lines(&rig.transcript), expected, "\n{}", rig.transcript);
}

impl Rig {
    pub(crate) fn new(cut: Option<PowerCut>) -> Self {
        Self {
            now: MonoMs(0),
            booted: MonoMs(0),
            core: None,
            codec: Box::new(CodecMemory::new()),
            flash: Flash::default(),
            store: Store::default(),
            inverter: Answers::Well,
            writes: Writes::Well,
            is_locked: false,
            written: Vec::new(),
            asked: Vec::new(),
            server: Replies::Well,
            waiting: None,
            system: Some(0),
            server_ahead_ms: 0,
            reads: 0,
            is_asleep: false,
            durable: BTreeSet::new(),
            shown: Vec::new(),
            transcript: String::new(),
            cut,
            actions: 0,
            messages: 0,
            keeps: 0,
            ends: Vec::new(),
            stays_off: false,
        }
    }

    /// Puts bytes into flash, as an earlier version left them.
    pub(crate) fn hold(&mut self, slot: Slot, bytes: &[u8]) {
        self.flash.kept.insert(slot.name(), bytes.to_vec());
    }

    /// The bytes of a slot in flash.
    pub(crate) fn kept(&self, slot: Slot) -> &[u8] {
        self.flash.kept(slot).unwrap()
    }

    pub(crate) fn transcript(&self) -> &str {
        &self.transcript
    }

    pub(crate) fn state(&self) -> SourceState {
        self.core.as_ref().unwrap().sources().next().unwrap().state
    }

    pub(crate) fn run_script(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (word, number) = rest.split_once(' ').unwrap_or((rest, "0"));
            let seconds = || Duration::from_secs(number.parse().unwrap());
            match (verb, word) {
                ("inverter", "well") => self.inverter = Answers::Well,
                ("inverter", "quiet") => self.inverter = Answers::Quiet,
                ("inverter", "gone") => self.inverter = Answers::Gone,
                ("inverter", "garbled") => self.inverter = Answers::Garbled,
                ("inverter", "dusk") => self.inverter = Answers::Dusk,
                ("inverter", "bad") => self.inverter = Answers::Bad(number.parse().unwrap()),
                ("inverter", "exception") => {
                    self.inverter = Answers::Exception(number.parse().unwrap());
                }
                ("inverter", "noise") => self.inverter = Answers::Noise(seconds()),
                ("writes", "well") => self.writes = Writes::Well,
                ("writes", "lost") => self.writes = Writes::Lost,
                ("writes", "unheard") => self.writes = Writes::Unheard,
                ("writes", "refused") => self.writes = Writes::Refused(number.parse().unwrap()),
                ("writes", "ignored") => self.writes = Writes::Ignored,
                ("writes", "unsent") => self.writes = Writes::Unsent,
                ("inverter", "forgets") => self.written.clear(),
                ("lease", _) => self.lease(rest),
                ("release", number) => self.release(number.parse().ok()),
                ("owner", "locks") => self.is_locked = true,
                ("server", "well") => self.server = Replies::Well,
                ("server", "away") => self.server = Replies::Away,
                ("server", "deaf") => self.server = Replies::Deaf,
                ("server", "forgetful") => self.server = Replies::Forgetful,
                ("server", "stubborn") => self.server = Replies::Stubborn,
                ("server", "strange") => self.server = Replies::Strange,
                ("server", "busy") => self.server = Replies::Busy(seconds()),
                ("server", "pause") => self.server = Replies::Pause(seconds()),
                ("server", "refuses") => self.server = Replies::Refuses(number.parse().unwrap()),
                ("server", "holds") => self.server = Replies::Holds(seconds()),
                ("server", "waits") => self.server = Replies::Waits,
                ("server", "leaves") => self.server = Replies::Leaves,
                ("server", "restored") => self.store.reported = None,
                ("want", _) => {
                    let generation =
                        self.store.wanted.last_key_value().map_or(1, |(last, _)| last + 1);
                    let values = rest.split_whitespace().map(value).collect();
                    self.store.wanted.insert(generation, values);
                }
                ("order", "again") => {
                    let at = number.parse::<usize>().unwrap() - 1;
                    self.store.commands[at].state = None;
                }
                ("order", _) => self.order(rest),
                ("time", difference) => self.server_ahead_ms = difference.parse().unwrap(),
                ("flash", "lasts") => self.stays_off = true,
                ("flash", state) => self.flash.is_full = state == "full",
                ("system", "unset") => self.system = None,
                ("system", difference) => self.system = Some(difference.parse().unwrap()),
                ("show", _) => self.shown = rest.split(' ').map(str::to_owned).collect(),
                ("start", _) => self.start(),
                ("run", duration) => {
                    let ms = match duration.strip_suffix("ms") {
                        Some(ms) => ms.parse().unwrap(),
                        None => duration.strip_suffix('s').unwrap().parse::<u64>().unwrap() * 1_000,
                    };
                    self.run(MonoMs(self.now.0 + ms));
                }
                ("power", "cut") => self.power_cut(),
                _ => panic!("script: {line}"),
            }
        }
    }

    /// After the faults: everything durable is on the server, in the spool or in the draft, once,
    /// and on the server if it was taken before the last two upload intervals.
    pub(crate) fn check_delivered(&self) {
        let mut kept = BTreeMap::new();
        let stored = self.store.batches.iter().map(|batch| (batch, true));
        let waiting = self.flash.spool.iter().map(|batch| (batch, false));
        let waiting = waiting.filter(|((id, _), _)| !self.store.batches.contains_key(id));
        for ((id, bytes), is_stored) in stored.chain(waiting) {
            for row in rows(*id, bytes) {
                assert!(kept.insert(row.clone(), is_stored).is_none(), "{row:?} is there twice");
            }
        }
        for row in self.flash.drafts.values() {
            assert!(kept.insert(row.clone(), false).is_none(), "{row:?} is there twice");
        }
        let now = self.truth().0;
        for row in &self.durable {
            let is_stored = kept.get(row).unwrap_or_else(|| panic!("{row:?} is lost"));
            let is_old = row.is_unix && row.t_ms + 130_000 < now;
            assert!(*is_stored || !is_old, "{row:?} still waits");
        }
    }

    /// After the faults: every command has ended, and none that ends an epoch was executed twice.
    pub(crate) fn check_ended(&self) {
        let commands = &self.store.commands;
        let ended = commands.iter().all(|ordered| {
            let is_late = ordered.command.deadline < self.truth();
            ordered.is_over() || (ordered.state.is_none() && is_late)
        });
        assert!(ended, "{commands:?}");
        // Every value is ordered once in a life, so one that was asked for twice was repeated.
        let distinct: BTreeSet<_> = self.asked.iter().collect();
        assert_eq!(distinct.len(), self.asked.len(), "{:?}", self.asked);
        for ordered in commands {
            if let CommandAction::WriteRegister { address, value } = ordered.command.order {
                let is_asked = self.asked.contains(&(address, value));
                let has_failed = ordered.state == Some(CommandState::Failed);
                assert!(is_asked || ordered.state != Some(CommandState::Succeeded), "{ordered:?}");
                assert!(!is_asked || !has_failed, "{ordered:?}");
            }
        }
        for (ending, orders) in [
            (Ending::Restart, &[CommandAction::Restart, CommandAction::FactoryReset][..]),
            (Ending::Reboot, &[CommandAction::Reboot][..]),
        ] {
            let done = self.ends.iter().filter(|end| **end == ending).count();
            let ordered = commands.iter().filter(|o| orders.contains(&o.command.order)).count();
            assert!(done <= ordered, "{done} of {ordered}");
        }
    }

    fn order(&mut self, words: &str) {
        let mut words = words.split_whitespace();
        let order = match words.next().unwrap() {
            "upload" => CommandAction::Upload,
            "diagnose" => CommandAction::Diagnose,
            "restart" => CommandAction::Restart,
            "reboot" => CommandAction::Reboot,
            "clear" => CommandAction::ClearFault,
            "reset" => CommandAction::FactoryReset,
            "read" => {
                let mut number = || words.next().unwrap().parse::<u16>().unwrap();
                let (address, count) = (number(), u8::try_from(number()).unwrap());
                CommandAction::ReadRegisters { function: 3, address, count }
            }
            "poke" => {
                let mut number = || words.next().unwrap().parse().unwrap();
                CommandAction::WriteRegister { address: number(), value: number() }
            }
            "set" => {
                let mantissa = words.next().unwrap().parse().unwrap();
                CommandAction::Write { point: "control.p_limit", mantissa, exponent: 0 }
            }
            "limit" => {
                CommandAction::LimitPower { permille: words.next().unwrap().parse().unwrap() }
            }
            "watts" => {
                CommandAction::LimitPowerWatts { watts: words.next().unwrap().parse().unwrap() }
            }
            other => CommandAction::Other(other.parse().unwrap()),
        };
        let (mut source, mut not_before, mut deadline) = (None, None, 60);
        for word in words {
            match word.split_once(['=', '@']).unwrap() {
                ("", number) => source = Some(SourceNumber(number.parse().unwrap())),
                ("after", seconds) => not_before = Some(seconds.parse().unwrap()),
                ("by", seconds) => deadline = seconds.parse().unwrap(),
                _ => panic!("{word}"),
            }
        }
        let next = u32::try_from(self.store.commands.len()).unwrap();
        let at = |seconds: i64| UnixMs(self.truth().0 + seconds * 1_000);
        let command = Command {
            id: CommandId(FIRST_COMMAND + next),
            source,
            deadline: at(deadline),
            not_before: not_before.map(at),
            order,
        };
        self.store.commands.push(Ordered { command, state: None });
    }

    fn lease(&mut self, words: &str) {
        let (permille, rest) = words.split_once(' ').unwrap_or((words, ""));
        let limit = |permille: &str| Limit::Permille(permille.parse().unwrap());
        let now_s = u32::try_from(self.truth().0 / 1_000).unwrap();
        let mut lease = Lease {
            id: LeaseId(u32::try_from(self.store.leases.len()).unwrap() + 1),
            source: None,
            limit: limit(permille),
            from_s: now_s,
            to_s: 600,
            ramp_s: 0,
            link_loss_s: 60,
            then: None,
            priority: 5,
        };
        for word in rest.split_whitespace() {
            let (name, value) = word.split_once(['=', '@']).unwrap();
            match name {
                "" => lease.source = Some(SourceNumber(value.parse().unwrap())),
                "from" => lease.from_s += value.parse::<u32>().unwrap(),
                "for" => lease.to_s = value.parse().unwrap(),
                "ramp" => lease.ramp_s = value.parse().unwrap(),
                "lost" => lease.link_loss_s = value.parse().unwrap(),
                "then" => lease.then = Some(limit(value)),
                _ => panic!("{word}"),
            }
        }
        lease.to_s += lease.from_s;
        self.store.leases.push((lease, true));
        self.store.lease_generation += 1;
    }

    fn release(&mut self, number: Option<u32>) {
        for (lease, is_held) in &mut self.store.leases {
            *is_held &= number.is_some_and(|number| lease.id != LeaseId(number));
        }
        self.store.lease_generation += 1;
    }

    fn take_leases(&mut self, reported: &ReportedLeases<'_>) {
        let generation = reported.generation.0;
        assert!(self.store.leases_reported <= Some(generation), "{generation} is below the last");
        let refused: String =
            reported.refused.iter().map(|r| format!(" {} {:?}", r.id, r.reason)).collect();
        if self.store.leases_reported != Some(generation) {
            self.say("lease", &format!("generation {generation}{refused}"));
        }
        self.store.leases_reported = Some(generation);
        for change in reported.changes.iter() {
            let LimitChange { lease, cause, limit_ppm, failure, .. } = change;
            let limit = limit_ppm.map_or("found".into(), |ppm| format!("{}", ppm / 1_000));
            let lease = lease.map_or(String::new(), |lease| format!(" by {lease}"));
            let failure = match failure {
                CommandFailure::None => String::new(),
                failure => format!(" {failure:?} {}", change.detail),
            };
            let at = change.at.map_or("-".into(), |at| (at.0 - NOON).to_string());
            let confirmed = change.confirmed_ms.map_or(String::new(), |ms| format!(" held {ms}"));
            let power = change.power_w.zip(change.power_ms);
            let power = power.map_or(String::new(), |(w, ms)| format!(" {w} W {ms}"));
            self.say(
                "lease",
                &format!("{limit}{lease} {cause:?}{failure} at {at}{confirmed}{power}"),
            );
        }
    }

    /// The power that the inverter makes: 4 kW, unless its limit is lower.
    fn power_w(&self) -> i32 {
        self.register(LIMIT).map_or(4_000, |percent| (i32::from(percent) * 50).min(4_000))
    }

    /// The limit in the inverter's register, in percent.
    pub(crate) fn limit(&self) -> u16 {
        self.register(LIMIT).unwrap_or(1_000 + LIMIT)
    }

    /// What was written to the limit's register, in order.
    pub(crate) fn limits_written(&self) -> Vec<u16> {
        self.written.iter().map(|(_, value)| *value).collect()
    }

    fn take_result(&mut self, result: &CommandResult<'_>) {
        let at = usize::try_from(result.id.0 - FIRST_COMMAND).unwrap();
        let ordered = &mut self.store.commands[at];
        let is_new = ordered.state.is_none() || ordered.state == Some(CommandState::Accepted);
        assert!(is_new || ordered.state == Some(result.state), "{ordered:?}, then {result:?}");
        ordered.state = Some(result.state);
        let failure = match result.failure {
            CommandFailure::None => String::new(),
            failure => format!(" {failure:?} {}", result.detail),
        };
        let at_ms = result.at.map_or("-".to_owned(), |at| (at.0 - NOON).to_string());
        let words =
            if result.words.is_empty() { String::new() } else { format!(" {:02x?}", result.words) };
        self.say("result", &format!("{} {:?}{failure} at {at_ms}{words}", at + 1, result.state));
    }

    /// After the faults: the device has decided on what the server wants.
    pub(crate) fn check_settled(&self) {
        let wanted = self.store.wanted.last_key_value().map_or(0, |(generation, _)| *generation);
        assert_eq!(self.store.reported, Some(wanted));
    }

    fn take_report(&mut self, reported: &Reported<'_>) {
        let generation = reported.generation.0;
        assert!(self.store.reported <= Some(generation), "{generation} is below the last");
        self.store.reported = Some(generation);
        let refused: Vec<_> = reported.refused.iter().collect();
        let of = |generation: u32| {
            let none = Vec::new();
            let wanted = self.store.wanted.get(&generation).unwrap_or(&none).iter();
            let is_used = |value: &&SettingValue| {
                !refused.iter().any(|r| (r.setting, r.source) == (value.setting, value.source))
            };
            in_use(&wanted.filter(is_used).copied().collect::<Vec<_>>())
        };
        let values = reported.values.iter().map(|v| (v.setting, v.source.map(|s| s.0), v.value));
        let values: Vec<_> = values.collect();
        let is_one = match reported.state {
            ConfigState::Applied | ConfigState::Trial => values == of(generation),
            ConfigState::Reverted => (0..generation).any(|former| values == of(former)),
            ConfigState::Unknown => false,
        };
        assert!(is_one, "{values:?} are of no generation");
        let refused = refused.iter().map(|r| {
            let source = r.source.map_or(String::new(), |source| format!("@{source}"));
            format!(" {}{source} {:?}", r.setting, r.reason)
        });
        let refused: String = refused.collect();
        self.say("report", &format!("{generation} {:?}{refused}", reported.state));
    }

    fn say(&mut self, kind: &str, text: &str) {
        if self.shown.iter().any(|shown| shown == kind) {
            let (s, ms) = (self.now.0 / 1_000, self.now.0 % 1_000);
            writeln!(self.transcript, "{s}.{ms:03} {kind} {text}").unwrap();
        }
    }

    /// The device's own monotonic time, which begins at its start.
    fn mono(&self) -> MonoMs {
        MonoMs(self.now.0 - self.booted.0)
    }

    fn truth(&self) -> UnixMs {
        UnixMs(NOON + i64::try_from(self.now.0).unwrap())
    }

    fn start(&mut self) {
        self.booted = self.now;
        let reason = if self.flash.epoch == 0 { BootReason::First } else { BootReason::Unclean };
        self.recover();
        self.flash.epoch += 1;
        let sleep =
            SleepCondition { column: 0, test: SleepTest::OneOf { words: [10, 0, 0, 0], count: 1 } };
        let plan = Plan::new(
            &[Group { every_ms: 5_000 }, Group { every_ms: 60_000 }],
            &[Read::of_all(Table::Holding, 0, 8, 0, 0), Read::of_all(Table::Holding, 20, 2, 1, 8)],
            Some(SleepRule::new(&[sleep]).unwrap()),
        );
        let source = SourceConfig {
            number: SOURCE,
            stream: STREAM,
            plan: plan.unwrap(),
            interval: None,
            timeout_max: Duration::from_secs(1),
        };
        let uplink = UplinkConfig {
            interval: Duration::from_secs(60),
            message_bytes_max: 8 * 1024,
            seed: 1,
        };
        let mut config = Config::new(uplink);
        config.batch_rows = 8;
        config.permissions = Permissions { reboot: true, writes: !self.is_locked };
        let started = StartInfo {
            epoch: BootEpoch(self.flash.epoch),
            reason,
            system: self.system.map(|less| UnixMs(self.truth().0 + less)),
            firmware: heapless::String::try_from("rig 1").unwrap(),
        };
        let credentials = Credentials {
            kid: KID,
            key: DeviceKey::new([5; 32]),
            reserved: Counter(self.flash.reserved),
        };
        let now = self.mono();
        let mut inverters = [Inverter::IDLE];
        inverters[0].configure(&source, now).unwrap();
        let mut core =
            Core::new(config, started, &credentials, inverters, &|slot| self.flash.kept(slot), now);
        if reason == BootReason::First {
            core.announce(STREAM);
        }
        core.handle_spooled(now, self.spooled());
        let is_asleep = core.sources().any(|source| source.state == SourceState::Asleep);
        assert!(is_asleep || !self.is_asleep, "kept sleep is lost");
        self.core = Some(core);
        self.keep_start();
    }

    /// Stores the start of the epoch, as a shell does whenever the clock may have changed.
    fn keep_start(&mut self) {
        if let Some(start) = self.core.as_ref().and_then(|core| core.wall_clock().start()) {
            self.flash.starts.insert(self.flash.epoch, start);
        }
    }

    fn power_cut(&mut self) {
        (self.core, self.waiting) = (None, None);
        self.say("event", "power cut");
    }

    /// Makes batches of the drafts that a power cut left, as a shell does.
    fn recover(&mut self) {
        let rows: Vec<Row> = std::mem::take(&mut self.flash.drafts).into_values().collect();
        let epoch = BootEpoch(self.flash.epoch);
        for table in rows.chunk_by(|a, b| a.is_unix == b.is_unix) {
            let times: Vec<i64> = table.iter().map(|row| row.t_ms).collect();
            let words: Vec<u16> = table.iter().flat_map(|row| row.words).collect();
            let marks = table.iter().flat_map(|row| row.marks);
            let marks: Vec<Mark> = marks.map(|code| Mark::from_code(code).unwrap()).collect();
            let batch = ecowatt_codec::Batch {
                base: if table[0].is_unix { TimeBase::Unix } else { TimeBase::SinceBoot },
                columns: COLUMNS,
                times: &times,
                words: &words,
                marks: Some(&marks),
            };
            let mut bytes = vec![0; encoded_len_max(table.len(), COLUMNS)];
            let len = ecowatt_codec::encode(&batch, &mut self.codec, &mut bytes).unwrap();
            bytes.truncate(len);
            let sequence = match self.flash.last {
                Some(last) if last.epoch == epoch => Sequence(last.sequence.0 + 1),
                _ => Sequence(1),
            };
            let id = BatchId { epoch, sequence };
            self.flash.spool.insert(id, bytes);
            self.flash.last = Some(id);
        }
    }

    fn spooled(&self) -> SpoolContents {
        let batches = u32::try_from(self.flash.spool.len()).unwrap();
        SpoolContents { batches, bytes: 0, capacity_bytes: 1 << 20 }
    }

    fn run(&mut self, end: MonoMs) {
        while self.now < end {
            self.end_wait();
            let now = self.mono();
            let Some(core) = self.core.as_mut() else {
                if self.stays_off {
                    return;
                }
                self.start();
                continue;
            };
            let action = core.poll_action(now);
            while let Some(event) = self.core.as_mut().unwrap().poll_event() {
                self.say("event", &format!("{event:?}"));
            }
            let Some(action) = action else {
                let next = self.core.as_ref().unwrap().poll_at();
                assert!(next > now, "nothing to do at {now:?}, yet poll_at is {next:?}");
                let until = self.waiting.as_ref().map_or(end, |waiting| waiting.until);
                self.now = MonoMs(next.0.saturating_add(self.booted.0)).min(end).min(until);
                continue;
            };
            self.actions += 1;
            let cut = self.cut.filter(|cut| cut.at_action == self.actions);
            if cut.is_none_or(|cut| cut.is_done) {
                self.carry_out(action, cut.is_some());
            }
            if cut.is_some() {
                self.power_cut();
            }
        }
    }

    /// Carries out an action; with `is_last` the device gets no answer.
    fn carry_out(&mut self, action: Action, is_last: bool) {
        match action {
            Action::Read { read, timeout, .. } => self.read(read, timeout),
            Action::Write { write, timeout, .. } => self.write(write, timeout, is_last),
            Action::Keep(slot) => {
                let now = self.mono();
                self.keeps += 1;
                let mut bytes = [0; Slot::LEN_MAX];
                let core = self.core.as_mut().unwrap();
                let len = core.kept(slot, &mut bytes);
                let is_durable = !self.flash.is_full;
                if !is_last {
                    core.handle_kept(now, slot, is_durable);
                }
                if is_durable {
                    self.is_asleep = core.sources().any(|s| s.state == SourceState::Asleep);
                    self.flash.kept.insert(slot.name(), bytes[..len].to_vec());
                }
                self.say("keep", &format!("{} {:02x?}", slot.name(), &bytes[..len]));
            }
            Action::Draft(source) => {
                let core = self.core.as_mut().unwrap();
                let sample = core.newest(source).unwrap();
                let row = Row {
                    epoch: self.flash.epoch,
                    is_unix: sample.base == TimeBase::Unix,
                    t_ms: sample.t_ms,
                    words: sample.words.try_into().unwrap(),
                    marks: std::array::from_fn(|at| sample.marks[at].code()),
                };
                let ordinal = sample.ordinal;
                let letters: String = sample.marks.iter().map(|mark| letter(*mark)).collect();
                let since = if row.is_unix { row.t_ms - NOON } else { row.t_ms };
                let base = if row.is_unix { "" } else { " since boot" };
                let is_durable = !self.flash.is_full;
                if is_durable {
                    self.flash.drafts.insert(ordinal, row.clone());
                    self.durable.insert(row);
                }
                let power_w = self.power_w();
                let core = self.core.as_mut().unwrap();
                core.handle_drafted(source, is_durable);
                core.handle_power(source, power_w, Some(5_000));
                self.say("sample", &format!("{since}{base} {letters}"));
            }
            Action::Cut(source) => {
                let now = self.mono();
                let mut bytes = vec![0; 4096];
                let core = self.core.as_mut().unwrap();
                let cut = core.cut(now, source, &mut self.codec, &mut bytes).unwrap();
                bytes.truncate(cut.len);
                let is_durable = !self.flash.is_full;
                if is_durable {
                    assert!(Some(cut.id) > self.flash.last, "{} is used twice", cut.id);
                    self.durable.extend(rows(cut.id, &bytes));
                    self.flash.spool.insert(cut.id, bytes);
                    self.flash.last = Some(cut.id);
                    self.flash.drafts.retain(|ordinal, _| *ordinal > cut.last_ordinal);
                    self.say("cut", &format!("{} of {} rows", cut.id, cut.rows));
                }
                if !is_last {
                    let spooled = self.spooled();
                    let core = self.core.as_mut().unwrap();
                    core.handle_persisted(now, is_durable);
                    core.handle_spooled(now, spooled);
                }
            }
            Action::Limit(source) => {
                let now = self.mono();
                self.core.as_mut().unwrap().limit(now, source, &Catalogue);
            }
            Action::Reserve(limit) => {
                let now = self.mono();
                let core = self.core.as_mut().unwrap();
                if self.flash.is_full {
                    core.handle_not_reserved(now);
                } else {
                    self.flash.reserved = limit.0;
                    core.handle_reserved(limit);
                }
            }
            Action::End(ending) => {
                self.say("end", &format!("{ending:?}"));
                self.ends.push(ending);
                assert!(self.waiting.is_none(), "an epoch ends while the device waits");
                self.core = None;
            }
            Action::Send => self.send(is_last),
        }
    }

    /// What was written to a register last.
    fn register(&self, address: u16) -> Option<u16> {
        self.written.iter().rfind(|(at, _)| *at == address).map(|(_, value)| *value)
    }

    fn write(&mut self, write: Write, timeout: Duration, is_last: bool) {
        let [value] = *write.words() else { panic!("{write:?}") };
        self.asked.push((write.address, value));
        let (is_executed, result, takes) = match self.writes {
            Writes::Well => (true, WriteResult::Confirmed, LATENCY),
            Writes::Lost => (true, WriteResult::NoAnswer, timeout),
            Writes::Unheard => (false, WriteResult::NoAnswer, timeout),
            Writes::Refused(code) => {
                (false, WriteResult::Exception(ExceptionCode::from_code(code)), LATENCY)
            }
            Writes::Ignored => (false, WriteResult::Confirmed, LATENCY),
            Writes::Unsent => (false, WriteResult::NotSent, LATENCY),
        };
        if is_executed {
            self.written.push((write.address, value));
        }
        self.say("write", &format!("{} = {value} {result:?}", write.address));
        if !is_last {
            self.now = self.now.plus(takes);
            let now = self.mono();
            self.core.as_mut().unwrap().handle_write(now, SOURCE, result);
        }
    }

    fn read(&mut self, read: Read, timeout: Duration) {
        let began = self.mono();
        self.reads += 1;
        let words: Vec<u16> = (read.address..read.address + read.count)
            .map(|address| match address {
                0 if self.inverter == Answers::Dusk => 10,
                0 => 500,
                7 => self.reads,
                other if self.register(other).is_some() => self.register(other).unwrap(),
                other => 1_000 + other,
            })
            .collect();
        let exception = |code| ReadResult::Exception(ExceptionCode::from_code(code));
        let (result, takes, said) = match self.inverter {
            Answers::Well | Answers::Dusk => (ReadResult::Words(&words), LATENCY, "ok".to_owned()),
            Answers::Quiet => (ReadResult::Timeout, timeout, format!("timeout {timeout:?}")),
            Answers::Gone => (ReadResult::Unreachable, LATENCY, "unreachable".to_owned()),
            Answers::Garbled => (ReadResult::Garbled, LATENCY, "garbled".to_owned()),
            Answers::Noise(standstill) => {
                self.inverter = Answers::Well;
                (ReadResult::Garbled, LATENCY + standstill, "garbled".to_owned())
            }
            Answers::Bad(bad) if (read.address..read.address + read.count).contains(&bad) => {
                (exception(2), LATENCY, "exception 2".to_owned())
            }
            Answers::Bad(_) => (ReadResult::Words(&words), LATENCY, "ok".to_owned()),
            Answers::Exception(code) => (exception(code), LATENCY, format!("exception {code}")),
        };
        self.say("read", &format!("{}+{} {said}", read.address, read.count));
        self.now = self.now.plus(takes);
        let outcome = CompletedRead { began, latency: LATENCY, result };
        let now = self.mono();
        self.core.as_mut().unwrap().handle_read(now, SOURCE, &outcome);
    }

    fn send(&mut self, is_last: bool) {
        let now = self.mono();
        let core = self.core.as_mut().unwrap();
        let mut message = vec![0; 8 * 1024];
        let announced = core.announced().to_vec();
        let (announced, missing): (Vec<_>, Vec<_>) =
            announced.into_iter().partition(|number| *number == STREAM);
        missing.into_iter().for_each(|number| core.withdraw(number));
        let streams: Vec<_> = announced
            .iter()
            .map(|number| Stream { number: *number, source: SOURCE, layout: b"layout" })
            .collect();
        let mut offered = self.flash.spool.iter().map(|(id, bytes)| Batch {
            id: *id,
            stream: STREAM,
            bytes,
            start: if is_unix(bytes) { None } else { self.flash.starts.get(&id.epoch.0).copied() },
        });
        let mut dropped = std::iter::empty();
        let outgoing =
            core.compose(now, &mut offered, &streams, &mut dropped, &mut message).unwrap();
        let Counter(counter) = outgoing.request.counter;
        let layouts = announced.len();
        self.messages += 1;
        self.say("send", &format!("{} batches, {layouts} layouts", outgoing.batches));
        assert!(counter < self.flash.reserved, "counter {counter} is not reserved");
        let patience = outgoing.patience;
        if !patience.is_zero() {
            self.say("wait", &format!("up to {patience:?}"));
        }
        if !patience.is_zero() && self.server == Replies::Waits && !is_last {
            message.truncate(outgoing.len);
            let (since, until) = (self.now, self.now.plus(patience));
            self.waiting = Some(Waiting { message, since, until });
            return;
        }
        let reply = match self.server {
            Replies::Away => Err(LinkFailure::Unreachable),
            Replies::Busy(after) => Err(LinkFailure::Busy { retry_after: Some(after) }),
            Replies::Deaf => {
                self.take(&message[..outgoing.len], Duration::ZERO);
                Err(LinkFailure::Unreachable)
            }
            Replies::Well
            | Replies::Forgetful
            | Replies::Stubborn
            | Replies::Strange
            | Replies::Pause(_)
            | Replies::Leaves
            | Replies::Waits
            | Replies::Refuses(_) => Ok(self.take(&message[..outgoing.len], Duration::ZERO)),
            Replies::Holds(held) => {
                self.now = self.now.plus(held);
                Ok(self.take(&message[..outgoing.len], held))
            }
        };
        if is_last {
            return;
        }
        self.hear(reply);
    }

    /// Ends a wait when its time is over, when the server has something to say, or when the device
    /// has.
    fn end_wait(&mut self) {
        let Some(waiting) = self.waiting.as_ref().filter(|_| self.core.is_some()) else { return };
        let now = self.mono();
        if self.core.as_ref().unwrap().is_wait_in_the_way(now) {
            self.say("wait", "given up");
            self.waiting = None;
            self.core.as_mut().unwrap().handle_wait_given_up(now);
        } else if self.server == Replies::Away {
            self.waiting = None;
            self.hear(Err(LinkFailure::Unreachable));
        } else if self.now >= waiting.until || self.has_news() {
            let Some(waiting) = self.waiting.take() else { return };
            let reply = self.take(&waiting.message, self.now.since(waiting.since));
            self.hear(Ok(reply));
        }
    }

    /// Whether the server has a command or settings to send.
    fn has_news(&self) -> bool {
        let last = self.store.wanted.last_key_value().map(|(generation, _)| *generation);
        let mut commands = self.store.commands.iter();
        let has_leases = self.store.lease_generation > self.store.leases_reported.unwrap_or(0);
        let has_settings = last > self.store.reported;
        has_leases || has_settings || commands.any(|ordered| ordered.state.is_none())
    }

    fn hear(&mut self, reply: Result<Vec<u8>, LinkFailure>) {
        self.now = self.now.plus(LATENCY);
        let now = self.mono();
        let core = self.core.as_mut().unwrap();
        match reply {
            Err(failure) => core.handle_link_failure(now, failure),
            Ok(reply) => {
                let mut scratch = [0; 1024];
                let acknowledged =
                    core.handle_reply(now, &reply, &mut scratch, &Catalogue).unwrap();
                if let Some(start) = core.wall_clock().start() {
                    self.flash.starts.insert(self.flash.epoch, start);
                }
                let is_acknowledged =
                    |id: &BatchId| acknowledged.ranges.iter().any(|range| range.contains(*id));
                self.flash.spool.retain(|id, _| !is_acknowledged(id));
                let spooled = self.spooled();
                self.core.as_mut().unwrap().handle_spooled(now, spooled);
            }
        }
    }

    /// The server takes a message and answers it.
    fn take(&mut self, message: &[u8], held: Duration) -> Vec<u8> {
        let keys = LinkKeys::derive(&DeviceKey::new([5; 32]), KID);
        let sealed = UnverifiedUplink::parse(message).unwrap();
        let mut plain = vec![0; message.len()];
        let uplink = Uplink::parse(sealed.open(&keys, &mut plain).unwrap()).unwrap();
        let counter = sealed.request().counter.0;
        let is_new = self.store.counters.last().is_none_or(|last| *last < counter);
        assert!(is_new && self.store.counters.insert(counter), "counter {counter} again");
        if matches!(self.server, Replies::Forgetful | Replies::Stubborn) {
            self.store.has_layout = false;
        }
        self.store.has_layout |= uplink.streams().len() > 0 && self.server != Replies::Stubborn;
        let has_layout = self.store.has_layout;
        let is_refused = matches!(self.server, Replies::Refuses(_) | Replies::Strange);
        for batch in uplink.batches().filter(|_| has_layout && !is_refused) {
            let known = self.store.batches.entry(batch.id).or_insert(batch.bytes.to_vec());
            assert_eq!(known, batch.bytes, "{} has two contents", batch.id);
        }
        let mut acks: Vec<AckRange> = Vec::new();
        for id in self.store.batches.keys() {
            match acks.last_mut() {
                Some(last) if last.epoch == id.epoch && last.last.0 + 1 == id.sequence.0 => {
                    last.last = id.sequence;
                }
                _ => acks.push(AckRange { epoch: id.epoch, first: id.sequence, last: id.sequence }),
            }
        }
        if let Some(reported) = uplink.reported() {
            self.take_report(&reported);
        }
        for result in uplink.results() {
            self.take_result(&result);
        }
        if let Some(leases) = uplink.leases() {
            self.take_leases(&leases);
        }
        let mut reply = vec![0; 1024];
        let mut writer = ReplyWriter::new(&mut reply);
        writer.acks(&mut acks.into_iter()).unwrap();
        writer.time(UnixMs(self.truth().0 + self.server_ahead_ms)).unwrap();
        let wanted: Vec<StreamNumber> = match self.server {
            Replies::Strange => (900..908).map(StreamNumber).collect(),
            _ if !has_layout && uplink.batches().len() > 0 => vec![STREAM],
            _ => Vec::new(),
        };
        writer.wanted(&mut wanted.into_iter()).unwrap();
        if let Replies::Refuses(reason) = self.server {
            let refused = uplink.batches().map(|batch| batch.id);
            let reason = BatchRefusal::Other(reason);
            writer.refused(&mut refused.map(|id| RefusedBatch { id, reason })).unwrap();
        }
        if let Replies::Pause(after) = self.server {
            writer.check_in(after).unwrap();
        }
        let wanted = self.store.wanted.last_key_value();
        let wanted = wanted.filter(|(generation, _)| self.store.reported < Some(**generation));
        if let Some((generation, values)) = wanted {
            let generation = ConfigGeneration(*generation);
            writer.desired(&Desired { generation, values: SectionList::Given(values) }).unwrap();
        }
        let has_wanted = wanted.is_some();
        let truth = self.truth();
        let is_sent = |o: &&Ordered| o.state.is_none() && o.command.deadline >= truth;
        let commands = self.store.commands.iter().filter(is_sent);
        writer.commands(&mut commands.map(|ordered| ordered.command)).unwrap();
        if !held.is_zero() {
            writer.held(held).unwrap();
        }
        let generation = self.store.lease_generation;
        if generation > self.store.leases_reported.unwrap_or(0) {
            let held = self.store.leases.iter().filter(|(_, is_held)| *is_held);
            let leases: Vec<Lease> = held.map(|(lease, _)| *lease).collect();
            let generation = LeaseGeneration(generation);
            let leases = SectionList::Given(&leases);
            writer.leases(&DesiredLeases { generation, leases }).unwrap();
        }
        if has_wanted && self.server == Replies::Leaves {
            self.server = Replies::Away;
        }
        let len = writer.finish();
        let len = seal_reply(&keys, sealed.request(), &[1; 12], &mut reply, len).unwrap();
        reply.truncate(len);
        reply
    }
}

/// Parses `SETTING[@SOURCE]=VALUE`.
fn value(text: &str) -> SettingValue {
    let (name, value) = text.split_once('=').unwrap();
    let (name, source) = match name.split_once('@') {
        Some((name, source)) => (name, Some(SourceNumber(source.parse().unwrap()))),
        None => (name, None),
    };
    let number = || name.parse().unwrap();
    let setting = Setting::named(name).map_or_else(number, |setting| setting.number);
    SettingValue { setting, value: value.parse().unwrap(), source }
}

/// The device's own settings with those of a generation in their place, as it reports them.
fn in_use(wanted: &[SettingValue]) -> Vec<(u8, Option<u8>, u32)> {
    let of = |setting, source| {
        let mut all = wanted.iter().rev();
        all.find(|v| (v.setting, v.source) == (setting, source)).map(|value| value.value)
    };
    let upload = of(UPLOAD_INTERVAL, None).unwrap_or(60_000);
    let sampling = of(SAMPLING_INTERVAL, Some(SOURCE)).or(of(SAMPLING_INTERVAL, None));
    let own = [
        (SAMPLING_INTERVAL, sampling.unwrap_or(5_000)),
        (UPLOAD_INTERVAL, upload),
        (CHECK_IN_INTERVAL, upload.max(900_000)),
        (COMMAND_WAIT, 0),
        (BATCH_ROWS, 8),
        (POWER_POLICY, 0),
        (REVERT_AFTER, 600_000),
    ];
    let source = |setting| (setting == SAMPLING_INTERVAL).then_some(SOURCE.0);
    own.map(|(setting, own)| (setting, source(setting), of(setting, None).unwrap_or(own)))
        .map(|(setting, source, value)| match setting {
            SAMPLING_INTERVAL => (setting, source, sampling.unwrap_or(5_000)),
            _ => (setting, source, value),
        })
        .to_vec()
}

fn is_unix(bytes: &[u8]) -> bool {
    let mut state: CodecMemory<COLUMNS> = CodecMemory::new();
    Decoder::new(bytes, &mut state).unwrap().base() == TimeBase::Unix
}

fn letter(mark: Mark) -> char {
    match mark {
        Mark::Read => 'r',
        Mark::NotDue => '-',
        Mark::Timeout => 't',
        Mark::Exception => 'e',
        Mark::Garbled => 'g',
        Mark::Quarantined => 'q',
        Mark::Unreachable => 'u',
        Mark::Asleep => 'z',
    }
}

fn rows(id: BatchId, bytes: &[u8]) -> Vec<Row> {
    let mut state: CodecMemory<COLUMNS> = CodecMemory::new();
    let mut decoder = Decoder::new(bytes, &mut state).unwrap();
    let is_unix = decoder.base() == TimeBase::Unix;
    let (mut words, mut marks) = ([0; COLUMNS], [Mark::Read; COLUMNS]);
    let mut rows = Vec::new();
    while let Some(t_ms) = decoder.next_row(&mut words, &mut marks).unwrap() {
        let marks = marks.map(Mark::code);
        rows.push(Row { epoch: id.epoch.0, is_unix, t_ms, words, marks });
    }
    rows
}
