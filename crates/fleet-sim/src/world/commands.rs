//! The operator of commands: orders at random times what devices should do once.
//!
//! A request that gets no answer is repeated with the same key, as the command line does; some that
//! got one are repeated as well, because the answer may be lost on its way. Deadlines are over when
//! the faults stop, unless the server's clock was wrong when it counted them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ecowatt_model::{DeviceNumber, SourceNumber, UnixMs};
use ecowatt_store::{CommandNumber, CommandOrder, CreateCommandError, CreatedCommand, NewCommand};

use crate::judges::limit::percent;
use crate::judges::orders::{Cancel, OrderAnswer, Ordered, kind};
use crate::random::Random;
use crate::scenario::{START, Scenario};
use crate::streams;
use crate::time::{FAR, after};

/// Time between two looks for commands whose time has passed. The server looks every second, which
/// would take most of a simulation's time.
const LOOK_MS: u64 = 60_000;
/// The last order is made this long before the faults stop: longer than all requests of an order, the
/// time before which it is not to be begun, and its deadline.
const LAST: Duration = Duration::from_secs(3 * 3_600);
/// Requests of one order, and the pause between two.
const REQUESTS_MAX: u32 = 6;
const PAUSE_MS: u64 = 60_000;
/// Time to begin a command: about a quarter of an hour, the default, but often too short.
const VALID_MEAN_MS: u64 = 15 * 60_000;
const VALID_MIN_MS: u64 = 30_000;
const VALID_MAX_MS: u64 = 2 * 3_600_000;
/// Longest wait for the time before which a command is not to be begun.
const AHEAD_MAX_MS: u64 = 30 * 60_000;

/// In millionths: how often a command is cancelled, and how often several are ordered at once.
const CANCELLED: u32 = 120_000;
const BURSTS: u32 = 100_000;
/// Longest time until a command is cancelled: most are sent by then.
const CANCELLED_WITHIN_MS: u64 = 10 * 60_000;
/// Most orders that follow one at once: more than a device takes with one reply.
const BURST_MAX: u64 = 8;

/// What is done about commands.
#[derive(Debug)]
pub(crate) enum CommandAct {
    /// The order with this index is requested, for the first time or again.
    Request(usize),
    /// A command is cancelled, unless it was sent.
    Cancel(usize, CommandNumber),
    /// Commands whose time has passed are ended.
    End,
}

/// An order, and what its requests say.
struct Plan {
    ordered: Ordered,
    valid_ms: u64,
    requests: u32,
    number: Option<CommandNumber>,
}

pub(crate) struct CommandOperator {
    random: Random,
    devices: u32,
    /// Mean time between two orders, of any device; 0 for none at all.
    every_ms: u64,
    until: UnixMs,
    order_at: UnixMs,
    look_at: UnixMs,
    plans: Vec<Plan>,
    /// Orders that are requested again.
    repeats: BTreeSet<(UnixMs, usize)>,
    /// Commands that are cancelled.
    cancels: BTreeSet<(UnixMs, usize)>,
    /// Orders that follow at once, and the device that they are for.
    burst: (u64, u32),
    deadlines: BTreeSet<(DeviceNumber, UnixMs)>,
}

impl CommandOperator {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let each_ms = scenario.commands_every.map_or(0, |every| every.as_millis());
        let every_ms = u64::try_from(each_ms).unwrap_or(0) / u64::from(scenario.devices.max(1));
        let mut operator = Self {
            random: Random::new(scenario.seed, streams::COMMANDS),
            devices: scenario.devices,
            every_ms,
            until: UnixMs(scenario.calm_at().0 - i64::try_from(LAST.as_millis()).unwrap_or(0)),
            order_at: FAR,
            look_at: if every_ms == 0 { FAR } else { after(START, LOOK_MS) },
            plans: Vec::new(),
            repeats: BTreeSet::new(),
            cancels: BTreeSet::new(),
            burst: (0, 0),
            deadlines: BTreeSet::new(),
        };
        operator.wait(START);
        operator
    }

    /// When the next act is due.
    pub(crate) fn at(&self) -> UnixMs {
        let repeat = self.repeats.first().map_or(FAR, |(at, _)| *at);
        let cancel = self.cancels.first().map_or(FAR, |(at, _)| *at);
        self.order_at.min(self.look_at).min(repeat).min(cancel)
    }

    /// Returns the act that is due. `number` is that of the device with an index.
    pub(crate) fn act(&mut self, number: fn(u32) -> DeviceNumber) -> CommandAct {
        let now = self.at();
        if let Some((at, index)) = self.repeats.first().copied()
            && at == now
        {
            self.repeats.pop_first();
            return CommandAct::Request(index);
        }
        if let Some((at, index)) = self.cancels.first().copied()
            && at == now
        {
            self.cancels.pop_first();
            let plan = &mut self.plans[index];
            if let Some(number) = plan.number {
                plan.ordered.cancel = Cancel::Requested;
                return CommandAct::Cancel(index, number);
            }
        }
        if self.order_at == now {
            let device = self.next_device(now);
            let plan = self.plan(now, number(device));
            self.plans.push(plan);
            return CommandAct::Request(self.plans.len() - 1);
        }
        self.look_at = after(now, LOOK_MS);
        CommandAct::End
    }

    /// Returns the request of an order, made when the server's clock shows `shown`.
    pub(crate) fn request(&mut self, index: usize, shown: UnixMs) -> NewCommand {
        let plan = &mut self.plans[index];
        plan.requests += 1;
        let Ordered { device, key, order, priority, not_before, deadlines, .. } = &mut plan.ordered;
        let begin = not_before.unwrap_or(shown);
        let mut deadline = after(begin, plan.valid_ms);
        // All requests of an order have the same time from begin to deadline.
        while deadlines.is_empty() && self.deadlines.contains(&(*device, deadline)) {
            plan.valid_ms += 1;
            deadline = after(begin, plan.valid_ms);
        }
        self.deadlines.insert((*device, deadline));
        deadlines.push(deadline);
        NewCommand {
            device: *device,
            order: order.clone(),
            priority: *priority,
            not_before: *not_before,
            deadline,
            key: Some(key.clone()),
        }
    }

    /// Takes the answer to a request; `None` if the server was down.
    pub(crate) fn answered(
        &mut self,
        now: UnixMs,
        index: usize,
        answer: Option<Result<CreatedCommand, CreateCommandError>>,
    ) {
        let plan = &mut self.plans[index];
        let before = plan.ordered.answer;
        plan.ordered.answer = match answer {
            Some(Ok(created)) => {
                plan.ordered.made.get_or_insert(now);
                let number = *plan.number.get_or_insert(created.command.number);
                if number == created.command.number {
                    OrderAnswer::Made
                } else {
                    OrderAnswer::Doubled
                }
            }
            Some(Err(CreateCommandError::KeyTaken(_))) => OrderAnswer::Doubled,
            Some(Err(CreateCommandError::Store(_))) | None => before,
            Some(Err(_)) if before == OrderAnswer::Nothing => OrderAnswer::Refused,
            Some(Err(_)) => before,
        };
        let is_repeated = match plan.ordered.answer {
            OrderAnswer::Nothing => true,
            OrderAnswer::Made => self.random.happens(200_000),
            OrderAnswer::Refused | OrderAnswer::Doubled => false,
        };
        let is_first = before != plan.ordered.answer && plan.ordered.answer == OrderAnswer::Made;
        if is_first && self.random.happens(CANCELLED) {
            let pause = self.random.below(CANCELLED_WITHIN_MS);
            self.cancels.insert((after(now, pause), index));
        }
        if is_repeated && plan.requests < REQUESTS_MAX {
            let pause = self.random.waiting_ms(PAUSE_MS / 2).min(PAUSE_MS);
            self.repeats.insert((after(now, pause), index));
        }
    }

    /// Takes the answer to a request to cancel; `None` if there was none.
    pub(crate) fn cancelled(&mut self, now: UnixMs, index: usize, is_done: Option<bool>) {
        let plan = &mut self.plans[index];
        match is_done {
            Some(true) => plan.ordered.cancel = Cancel::Done,
            Some(false) => {}
            None => {
                plan.requests += 1;
                if plan.requests < 2 * REQUESTS_MAX {
                    self.cancels.insert((after(now, PAUSE_MS), index));
                }
            }
        }
    }

    /// Returns all orders, by device.
    pub(crate) fn take_orders(&mut self) -> BTreeMap<DeviceNumber, Vec<Ordered>> {
        let mut orders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for Plan { ordered, .. } in self.plans.drain(..) {
            orders.entry(ordered.device).or_default().push(ordered);
        }
        orders
    }

    /// Draws the device of the order that is due, and when the next order is.
    fn next_device(&mut self, now: UnixMs) -> u32 {
        if let (more @ 1.., device) = self.burst {
            self.burst.0 = more - 1;
            if more == 1 {
                self.wait(now);
            }
            return device;
        }
        let device = u32::try_from(self.random.below(u64::from(self.devices))).unwrap_or(0);
        if self.random.happens(BURSTS) {
            self.burst = (self.random.between(1, BURST_MAX), device);
        } else {
            self.wait(now);
        }
        device
    }

    fn wait(&mut self, now: UnixMs) {
        self.order_at = match self.every_ms {
            0 => FAR,
            every_ms => after(now, self.random.waiting_ms(every_ms)),
        };
        if self.order_at >= self.until {
            self.order_at = FAR;
        }
    }

    fn plan(&mut self, now: UnixMs, device: DeviceNumber) -> Plan {
        let order = self.order();
        let random = &mut self.random;
        let priority = if random.happens(500_000) { 5 } else { random.below(10) };
        let not_before = random.happens(150_000).then(|| after(now, random.below(AHEAD_MAX_MS)));
        Plan {
            ordered: Ordered {
                device,
                key: format!("{:016x}", random.draw()),
                order,
                priority: u8::try_from(priority).unwrap_or(0),
                made: None,
                not_before,
                deadlines: Vec::new(),
                answer: OrderAnswer::Nothing,
                cancel: Cancel::No,
            },
            valid_ms: random.waiting_ms(VALID_MEAN_MS).clamp(VALID_MIN_MS, VALID_MAX_MS),
            requests: 0,
            number: None,
        }
    }

    /// Draws what to order; some of it a device has to refuse.
    fn order(&mut self) -> CommandOrder {
        let random = &mut self.random;
        let plain = |kind| CommandOrder { kind, arguments: String::new(), source: None };
        match random.below(20) {
            0..=2 => plain(kind::UPLOAD),
            3 => plain(kind::CLEAR_FAULT),
            4 => CommandOrder { source: Some(SourceNumber(0)), ..plain(kind::CLEAR_FAULT) },
            5 => plain(match random.below(4) {
                0 => kind::FACTORY_RESET,
                _ => kind::RESTART,
            }),
            6 => plain(if random.happens(500_000) { kind::DIAGNOSE } else { kind::REBOOT }),
            7..=12 => self.write(),
            _ => {
                // One of the two maps, whichever the inverter has; inverter 1 is seldom there.
                let first = if random.happens(500_000) { 0 } else { 40_000 };
                let (address, count) = (first + random.below(12), random.between(1, 30));
                let table = if random.happens(500_000) { "holding" } else { "input" };
                let source = SourceNumber(u8::from(random.happens(100_000)));
                let arguments = format!("address={address} count={count} table={table}");
                CommandOrder { kind: kind::READ_REGISTER, arguments, source: Some(source) }
            }
        }
    }

    /// Draws a write; some of it a device or its inverter has to refuse.
    fn write(&mut self) -> CommandOrder {
        let random = &mut self.random;
        let mut below = |limit: u64| u16::try_from(random.below(limit)).unwrap_or(0);
        let (kind, arguments) = match below(8) {
            0..=2 => {
                let permille = if below(3) == 0 { below(1_001) } else { 10 * below(101) };
                (kind::SET_POWER_PERCENTAGE, format!("percent={}", percent(permille)))
            }
            3 | 4 => (kind::SET_POWER, format!("watts={}", below(12_000))),
            5 => (kind::WRITE, format!("control.p_limit={}", below(120))),
            6 => (kind::WRITE, "control.unknown=1".to_owned()),
            _ => (kind::WRITE_REGISTER, format!("address=8 value={}", below(120))),
        };
        CommandOrder { kind, arguments, source: Some(SourceNumber(0)) }
    }
}
