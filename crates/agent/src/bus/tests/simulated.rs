//! Buses in virtual time: hours on a line that another master uses as well.
//!
//! Bus and line share one task, so time moves only when neither has anything to do, and a busy
//! machine changes nothing.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::*;

const ANSWER_MAX: Duration = Duration::from_secs(3);
const CYCLE: Duration = Duration::from_secs(5);
/// What the other master is answered; no register of ours holds it.
const FOREIGN: u16 = 9;
const START_MS: u64 = 600;
/// The other master begins later, when the agent has seen how slow the inverter may be.
const OTHER_FROM_MS: u64 = 300_000;

/// An inverter, and another master that reads one of its registers as well.
struct Scene {
    address: Address,
    /// Returns how many milliseconds an answer takes.
    latency: fn(&mut Dice) -> u64,
    /// Time between two requests of the other master, in milliseconds.
    other_every: u64,
    hours: u64,
    reads_per_cycle: u16,
}

/// What the agent got.
#[derive(Debug, Default)]
struct Tally {
    right: u32,
    wrong: u32,
    none: u32,
}

/// Repeatable draws (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

fn gateway() -> Address {
    Address::RtuOverTcp("simulated:4001".into())
}

fn serial() -> Address {
    let format = ecowatt_profile::SerialFormat::NoneOne;
    Address::Serial(Serial { path: "/simulated".into(), baud: 9_600, format })
}

/// The inverter's side of the line. It answers one request after the other; every master hears
/// every answer, and on a serial line every request, of which a second one at a time is lost.
async fn play(mut line: UnixStream, scene: &Scene, mut dice: Dice) {
    let clock = Clock::system();
    let mut coming: BTreeMap<(MonoMs, u32), Vec<u8>> = BTreeMap::new();
    let (mut busy_until, mut number) = (MonoMs(0), 0);
    let mut other_at = MonoMs(OTHER_FROM_MS + dice.below(scene.other_every));
    let mut request = [0; 64];
    loop {
        let next = coming.keys().next().map_or(other_at, |(at, _)| other_at.min(*at));
        let own = tokio::select! {
            biased;
            read = line.read(&mut request) => {
                if read.unwrap() == 0 {
                    return;
                }
                true
            }
            () = clock.sleep_until(next) => false,
        };
        let now = clock.mono();
        let is_other = !own && now >= other_at;
        if own || is_other {
            let is_lost = scene.address.is_serial() && now < busy_until;
            if !is_lost {
                busy_until =
                    now.max(busy_until).plus(Duration::from_millis((scene.latency)(&mut dice)));
                number += 1;
                let answer = if own {
                    rtu_answer(&request[..8])
                } else {
                    answer_with(Framing::Rtu, 0, &[FOREIGN])
                };
                coming.insert((busy_until, number), answer);
            }
        }
        if is_other {
            let jitter = dice.below(scene.other_every / 20);
            other_at = now.plus(Duration::from_millis(scene.other_every + jitter));
            if scene.address.is_serial() {
                line.write_all(&foreign_request()).await.unwrap();
            }
        }
        while let Some(first) = coming.first_entry()
            && first.key().0 <= now
        {
            line.write_all(&first.remove()).await.unwrap();
        }
    }
}

/// Reads in cycles; one register after the other, so that an answer to another read is noticed.
async fn poll(bus: &mut Bus, scene: &Scene) -> Tally {
    let clock = Clock::system();
    let (mut tally, mut address) = (Tally::default(), 0);
    let end = MonoMs(scene.hours * 3_600_000);
    let mut cycle_at = MonoMs(START_MS);
    while clock.mono() < end {
        clock.sleep_until(cycle_at).await;
        for _ in 0..scene.reads_per_cycle {
            address = (address + 1) % 1_000;
            match read_within(bus, address, 1, ANSWER_MAX).await {
                answer @ Answer::Words(_) if answer == right(address, 1) => tally.right += 1,
                Answer::Words(_) => tally.wrong += 1,
                Answer::Timeout | Answer::Garbled => tally.none += 1,
                other => panic!("{other:?}"),
            }
        }
        while cycle_at <= clock.mono() {
            cycle_at = cycle_at.plus(CYCLE);
        }
    }
    tally
}

fn run(scene: &Scene, seed: u64) -> Tally {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let pace = Pace { answer_max: ANSWER_MAX, ..PACE };
        let mut bus = Bus::new(scene.address.clone(), pace, Clock::system());
        bus.line = Some(Line::Serial(line::watch(File::from(OwnedFd::from(ours))).unwrap()));
        let theirs = UnixStream::from_std(theirs).unwrap();
        tokio::select! {
            tally = poll(&mut bus, scene) => tally,
            () = play(theirs, scene, Dice(seed)) => panic!("the line is closed by the test alone"),
        }
    })
}

/// Runs a scene with some seeds. No word may be wrong, and at least this share of the reads must
/// succeed.
#[track_caller]
fn check(scene: &Scene, seeds: u64, share_min: f64) {
    let mut all = Tally::default();
    for seed in 0..seeds {
        let tally = run(scene, seed);
        all.right += tally.right;
        all.wrong += tally.wrong;
        all.none += tally.none;
    }
    let share = f64::from(all.right) / f64::from(all.right + all.wrong + all.none);
    println!("{all:?}, {share:.3}");
    assert_eq!(all.wrong, 0, "{all:?}");
    assert!(share >= share_min, "{share} of {all:?}");
}

#[test]
fn a_slow_inverter_is_waited_for_before_a_rare_stray_answer_counts() {
    // Rarer than a bus counts as shared.
    let latency = |dice: &mut Dice| 400 + dice.below(20);
    for reads_per_cycle in [1, 4] {
        let scene =
            Scene { address: gateway(), latency, other_every: 960_000, hours: 10, reads_per_cycle };
        check(&scene, 2, 0.99);
    }
}

#[test]
fn an_inverter_that_is_slow_now_and_then_is_not_taken_for_a_quick_one() {
    let latency = |dice: &mut Dice| if dice.below(8) == 0 { 1_150 } else { 20 };
    for reads_per_cycle in [1, 4] {
        let scene =
            Scene { address: gateway(), latency, other_every: 7_300, hours: 3, reads_per_cycle };
        check(&scene, 3, 0.6);
    }
}

#[test]
fn a_quick_inverter_is_read_beside_a_second_master() {
    let latency = |dice: &mut Dice| 40 + dice.below(5);
    let scene =
        Scene { address: gateway(), latency, other_every: 7_300, hours: 3, reads_per_cycle: 4 };
    check(&scene, 1, 0.9);
}

#[test]
fn an_answer_to_a_foreign_request_on_the_line_is_waited_for() {
    // Slower than the line takes to fall silent after a request.
    let latency = |dice: &mut Dice| 200 + dice.below(300);
    for other_every in [7_300, 1_300_000] {
        let scene = Scene { address: serial(), latency, other_every, hours: 6, reads_per_cycle: 4 };
        check(&scene, 2, 0.75);
    }
}
