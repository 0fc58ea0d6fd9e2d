//! Power cuts at every operation of a store's life: what was answered is there, once and whole.
//!
//! A life of a store is recorded once, with everything that can be read after each commit. Then the
//! power fails in the middle of each of its operations; unsynced writes are kept, lost or torn. The
//! store that opens on the rest must match, to the last bit, the picture after the last answered
//! commit or, if a commit was in progress, the picture after that one. Then everything is sent
//! again, as devices would, and the end must be the same as without a cut.
#![expect(clippy::print_stdout, reason = "the numbers of cuts and of what they did are results")]

mod life;
mod recorder;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ecowatt_fleet_sim::disk::{Counts, Disk, UnsyncedDamage};
use ecowatt_fleet_sim::random::Random;
use ecowatt_model::{BatchId, Counter, DeviceNumber};
use ecowatt_store::{Upload, UploadOutcome};
use ecowatt_vfs::{Files as _, Registered};
use life::{DATABASE, DEVICES, Picture, Running, Step, short, upload, voluminous};
use recorder::{Event, Op, Recorder, tally};
use rusqlite::{Connection, OpenFlags};

/// A life, and the picture after each of its commits; the first picture is of the empty store.
struct Recording {
    steps: Vec<Step>,
    events: Vec<Event>,
    pictures: Vec<Picture>,
    outcomes: Vec<Vec<UploadOutcome>>,
}

/// One place where the power fails.
#[derive(Debug, Clone, Copy)]
struct Cut {
    /// Which of the life's events.
    at: usize,
    /// How much of a write reaches the disk; none for other operations.
    bytes: Option<usize>,
    fate: UnsyncedDamage,
    seed: u64,
}

/// The pictures that are allowed after a cut.
#[derive(Debug, Clone)]
struct May {
    /// The picture after any of these numbers of commits.
    commits: BTreeSet<usize>,
    /// The end of the life, reached by sending everything again.
    be_end: bool,
}

/// Counts of what was tried.
#[derive(Debug, Default)]
struct Tried {
    cuts: u64,
    second: u64,
    resent: u64,
    /// Cuts that the commit in progress survived.
    ahead: u64,
    disks: Counts,
}

static VOLUMES: AtomicU64 = AtomicU64::new(0);

/// Puts a disk under SQLite, under a name that no other test uses.
fn mounted(disk: &Disk) -> (String, Registered) {
    let name = format!("sweep-{}", VOLUMES.fetch_add(1, Ordering::Relaxed));
    let registered = ecowatt_vfs::register(&name, disk.clone()).unwrap();
    (name, registered)
}

fn record(steps: Vec<Step>) -> Recording {
    let recorder = Recorder::new(Disk::new(0));
    let name = format!("life-{}", VOLUMES.fetch_add(1, Ordering::Relaxed));
    let _registered = ecowatt_vfs::register(&name, recorder.clone()).unwrap();
    let mut running = Running::open(&name).unwrap();
    let mut pictures = vec![running.look().unwrap()];
    let mut outcomes = Vec::new();
    for step in &steps {
        if let Step::Reopen = step {
            let picture = running.look().unwrap();
            drop(running);
            running = Running::open(&name).unwrap();
            assert_eq!(running.look().unwrap(), picture);
            continue;
        }
        recorder.note(Event::Begun(pictures.len()));
        outcomes.push(running.step(step).unwrap());
        recorder.note(Event::Answered(pictures.len()));
        pictures.push(running.look().unwrap());
    }
    let events = recorder.events();
    Recording { steps, events, pictures, outcomes }
}

impl Recording {
    /// Returns the steps that are commits, in order.
    fn commits(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !matches!(step, Step::Reopen))
    }

    /// Returns every message of the life.
    fn uploads(&self) -> impl Iterator<Item = &Upload> {
        self.commits().flat_map(|step| match step {
            Step::Uploads(uploads) => uploads.as_slice(),
            _ => &[],
        })
    }

    /// Returns the last message that was stored for a device in the first `commits` commits.
    fn last_stored(&self, device: u32, commits: usize) -> Option<&Upload> {
        let done = self.commits().zip(&self.outcomes).take(commits);
        done.flat_map(|(step, outcomes)| match step {
            Step::Uploads(uploads) => uploads.iter().zip(outcomes).collect(),
            _ => Vec::new(),
        })
        .filter(|(upload, outcome)| {
            upload.device == DeviceNumber(device) && matches!(outcome, UploadOutcome::Stored(_))
        })
        .map(|(upload, _)| upload)
        .last()
    }

    /// Replays the life on a disk of its own and cuts at each of the places, which ascend.
    fn sweep(&self, cuts: &[Cut]) -> Tried {
        let mut tried = Tried::default();
        let now = Disk::new(0);
        let (mut begun, mut answered) = (0, 0);
        let mut cuts = cuts.iter().peekable();
        for (at, event) in self.events.iter().enumerate() {
            match event {
                Event::Begun(commit) => begun = *commit,
                Event::Answered(commit) => answered = *commit,
                Event::Open { name } => drop(now.open(name, true).unwrap()),
                Event::Op(op) => {
                    while let Some(cut) = cuts.next_if(|cut| cut.at == at) {
                        let disk = now.fork(cut.seed);
                        match cut.bytes {
                            Some(bytes) => disk.cut_within(1, bytes),
                            None => disk.cut_after(1),
                        }
                        op.apply(&disk).unwrap_err();
                        disk.restart_with(cut.fate);
                        self.check(*cut, &disk, (answered, begun), &mut tried);
                    }
                    op.apply(&now).unwrap();
                }
            }
        }
        assert!(cuts.next().is_none());
        tried
    }

    /// Opens and checks what a cut has left.
    fn check(&self, cut: Cut, disk: &Disk, (answered, begun): (usize, usize), tried: &mut Tried) {
        let described = || format!("{cut:?} in commits {answered}..={begun}");
        tried.cuts += 1;
        let mut random = Random::new(cut.seed, 7);
        let mut may = May { commits: [answered, begun].into(), be_end: false };
        if random.below(4) == 0 {
            // Cut once more, during recovery, work or stop.
            tried.second += 1;
            may = self.interrupt(disk, &mut random, &may);
        }
        let (name, _registered) = mounted(disk);
        let running = match Running::open(&name) {
            Ok(running) => running,
            Err(error) => panic!("cannot be opened after {}: {error:?}", described()),
        };
        let picture = running.look().unwrap();
        let Some(commits) = self.find(&picture, &may) else {
            // A second cut may have fallen after everything was sent again.
            assert!(may.be_end && self.is_end(&picture), "{}\n{may:?} {picture:?}", described());
            tried.disks.add(&disk.counts());
            return;
        };
        tried.ahead += u64::from(commits > answered);
        if random.below(4) == 0 {
            tried.resent += 1;
            self.resend(&running, commits);
            let picture = running.look().unwrap();
            assert!(self.is_end(&picture), "sent again after {}: {picture:?}", described());
        }
        drop(running);
        assert_eq!(integrity(&name), "ok", "{}", described());
        tried.disks.add(&disk.counts());
    }

    /// Cuts the power again; returns what may be seen afterwards.
    fn interrupt(&self, disk: &Disk, random: &mut Random, may: &May) -> May {
        let (name, _registered) = mounted(disk);
        disk.cut_after(1 + random.below(120));
        let mut after = may.clone();
        if let Ok(running) = Running::open(&name)
            && let Ok(picture) = running.look()
        {
            let commits = self.find(&picture, may).expect("one of the pictures of the life");
            after = self.try_resend(&running, commits);
        }
        disk.restart();
        after
    }

    fn find(&self, picture: &Picture, may: &May) -> Option<usize> {
        may.commits.iter().copied().find(|commits| self.pictures[*commits] == *picture)
    }

    /// Sends everything again, like devices that got no answer, and checks the answers.
    fn resend(&self, running: &Running, commits: usize) {
        for device in 1..=DEVICES {
            let Some(last) = self.last_stored(device, commits) else { continue };
            let outcomes = running.ingest(&[last.clone(), upload(device, 1, Vec::new())]);
            assert!(matches!(outcomes[0], Ok(UploadOutcome::Duplicate(_))), "{outcomes:?}");
            assert!(
                last.counter == Counter(1)
                    || matches!(outcomes[1], Ok(UploadOutcome::Stale { last: l }) if l == last.counter),
                "{outcomes:?}"
            );
        }
        let after = self.try_resend(running, commits);
        assert!(after.be_end && after.commits.is_empty(), "the disk works: {after:?}");
    }

    /// Does the missing other steps, then sends every batch of the life under unused counters. If
    /// the disk fails, the picture may be that of what was answered, with or without the last
    /// request.
    fn try_resend(&self, running: &Running, mut commits: usize) -> May {
        for step in self.commits().skip(commits) {
            if matches!(step, Step::Uploads(_)) {
                break;
            }
            if running.step(step).is_err() {
                return May { commits: [commits, commits + 1].into(), be_end: false };
            }
            commits += 1;
        }
        let Ok(Picture(devices)) = running.look() else {
            return May { commits: [commits].into(), be_end: false };
        };
        let mut held: BTreeSet<(DeviceNumber, BatchId)> = BTreeSet::new();
        for seen in &devices {
            let ids = seen.telemetry.batches.iter().map(|(id, _)| (seen.device.number, *id));
            held.extend(ids);
        }
        let again: Vec<Upload> = self
            .uploads()
            .zip(1_000_000..)
            .map(|(sent, counter)| {
                let mut again = upload(sent.device.0, counter, sent.batches.clone());
                again.dropped.clone_from(&sent.dropped);
                again.reported.clone_from(&sent.reported);
                again
            })
            .collect();
        let outcomes = running.ingest(&again);
        for (upload, outcome) in again.iter().zip(outcomes) {
            let Ok(outcome) = outcome else {
                return May { commits: [commits].into(), be_end: true };
            };
            let UploadOutcome::Stored(receipt) = outcome else { panic!("a counter went ahead") };
            let expected: Vec<BatchId> = upload
                .batches
                .iter()
                .map(|block| block.id)
                .filter(|id| held.insert((upload.device, *id)))
                .collect();
            assert_eq!(receipt.stored, expected);
            let twice = upload.batches.len() - expected.len();
            assert_eq!(usize::try_from(receipt.duplicates).unwrap(), twice);
        }
        May { commits: BTreeSet::new(), be_end: true }
    }

    /// Whether the picture is the last one, apart from the number of messages.
    fn is_end(&self, picture: &Picture) -> bool {
        let end = &self.pictures[self.pictures.len() - 1];
        picture.0.iter().map(|seen| seen.lasting()).eq(end.0.iter().map(|seen| seen.lasting()))
    }
}

/// Returns SQLite's own integrity report.
fn integrity(vfs: &str) -> String {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags_and_vfs(DATABASE, flags, vfs).unwrap();
    connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(())).unwrap();
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// Whether every byte of a write matters by itself: headers of the database, of the log, and of the
/// log's frames that end a commit (https://www.sqlite.org/fileformat2.html, sections 1.3 and 4.1).
fn header_bytes(op: &Op) -> usize {
    match op {
        Op::Write { name, offset: 0, bytes } if name == DATABASE => bytes.len().min(100),
        Op::Write { name, bytes, .. } if name.ends_with("-wal") && bytes.len() == 32 => 32,
        Op::Write { name, bytes, .. } if name.ends_with("-wal") && bytes.len() == 24 => {
            if bytes[4..8] == [0; 4] { 1 } else { 24 }
        }
        Op::Write { name, bytes, .. } if name.ends_with("-journal") => bytes.len().min(28),
        _ => 0,
    }
}

/// Returns places to cut at: at least one for each operation in `range`, all header bytes, and
/// others up to `count`.
fn places(
    recording: &Recording,
    is_wanted: impl Fn(usize, &Op) -> bool,
    count: usize,
    seed: u64,
) -> Vec<Cut> {
    let mut random = Random::new(seed, 3);
    let (mut wanted, mut spare) = (Vec::new(), Vec::new());
    for (at, event) in recording.events.iter().enumerate() {
        let Event::Op(op) = event else { continue };
        if !is_wanted(at, op) {
            continue;
        }
        let mut cut = |bytes, fate| Cut { at, bytes, fate, seed: random.draw() };
        let Op::Write { bytes, .. } = op else {
            wanted.extend(UnsyncedDamage::ALL.map(|fate| cut(None, fate)));
            spare.extend((0..12).map(|_| cut(None, UnsyncedDamage::Mixed)));
            continue;
        };
        let own = header_bytes(op);
        wanted.push(cut(None, UnsyncedDamage::Mixed));
        wanted.extend((1..own).map(|byte| cut(Some(byte), UnsyncedDamage::Kept)));
        let len = bytes.len();
        let borders = [0, 1, 511, 512, 513, 2048, len - 1, len];
        for byte in borders.into_iter().filter(|byte| *byte <= len && *byte >= own.min(len)) {
            spare.extend(UnsyncedDamage::ALL.map(|fate| cut(Some(byte), fate)));
        }
        spare.push(cut(None, UnsyncedDamage::Ordered));
    }
    let mut random = Random::new(seed, 4);
    while wanted.len() < count && !spare.is_empty() {
        let place = random.below(u64::try_from(spare.len()).unwrap());
        wanted.push(spare.swap_remove(usize::try_from(place).unwrap()));
    }
    wanted.sort_by_key(|cut| cut.at);
    wanted
}

/// Sweeps on two threads.
fn sweep(recording: &Recording, cuts: &[Cut]) -> Tried {
    let halves: [Vec<Cut>; 2] =
        [0, 1].map(|half| cuts.iter().copied().skip(half).step_by(2).collect());
    let mut all = Tried::default();
    thread::scope(|scope| {
        let halves = halves.each_ref().map(|cuts| scope.spawn(|| recording.sweep(cuts)));
        for half in halves {
            let tried = half.join().unwrap();
            all.cuts += tried.cuts;
            all.second += tried.second;
            all.resent += tried.resent;
            all.ahead += tried.ahead;
            all.disks.add(&tried.disks);
        }
    });
    all
}

fn report(what: &str, recording: &Recording, tried: &Tried) {
    println!(
        "{what}: {} power cuts over {:?}, {} more while recovering, everything sent again {} times; \
         {} times the commit under way was there; {:?}",
        tried.cuts,
        tally(&recording.events),
        tried.second,
        tried.resent,
        tried.ahead,
        tried.disks.damage,
    );
}

/// Cuts of the short life.
const CUTS: usize = 4000;

/// Cuts around the moment at which a working store moves its log into the database.
const CHECKPOINT_CUTS: usize = 150;

#[test]
fn what_was_answered_outlasts_a_cut_at_every_operation() {
    let recording = record(short(1));
    let all = recording.outcomes.iter().flatten();
    let (mut stored, mut others) = (0, BTreeSet::new());
    for outcome in all {
        match outcome {
            UploadOutcome::Stored(receipt) => stored += receipt.stored.len(),
            UploadOutcome::Duplicate(_) => drop(others.insert("duplicate")),
            UploadOutcome::Stale { .. } => drop(others.insert("stale")),
            UploadOutcome::UnknownDevice => panic!("{outcome:?}"),
        }
    }
    assert!(stored > 50 && others.len() == 2, "the life is poor: {stored} {others:?}");
    let cuts = places(&recording, |_, _| true, CUTS, 5);
    let tried = sweep(&recording, &cuts);
    report("short life", &recording, &tried);
    assert!(tried.ahead > 10 && tried.second > 100 && tried.resent > 100, "{tried:?}");
}

#[test]
fn log_is_moved_into_the_database_under_power_cuts() {
    let recording = record(voluminous(40));
    // From the first write to the database after the log has begun, until the log is restarted.
    let is_page = |op: &Op| matches!(op, Op::Write { name, .. } if name == DATABASE);
    let begun = recording.events.iter().position(|event| matches!(event, Event::Begun(_))).unwrap();
    let pages = recording.events.iter().enumerate().skip(begun);
    let moved: Vec<usize> = pages
        .filter(|(_, event)| matches!(event, Event::Op(op) if is_page(op)))
        .map(|(at, _)| at)
        .collect();
    let (first, last) = (moved[0], moved[moved.len() - 1]);
    let restarted = recording.events[last..].iter().any(|event| {
        matches!(event, Event::Op(Op::Write { name, offset: 0, .. }) if name.ends_with("-wal"))
    });
    assert!(restarted, "the log was not restarted");
    let around = first.saturating_sub(4)..last + 120;
    let all = places(&recording, |at, _| around.contains(&at), 0, 6);
    let every = all.len().div_ceil(CHECKPOINT_CUTS);
    // Syncs and the log's header are few and matter most.
    let cuts: Vec<Cut> = all
        .iter()
        .enumerate()
        .filter(|(i, cut)| {
            i % every == 0 || !matches!(&recording.events[cut.at], Event::Op(Op::Write { .. }))
        })
        .map(|(_, cut)| *cut)
        .collect();
    let tried = sweep(&recording, &cuts);
    report("checkpoint", &recording, &tried);
    assert!(tried.cuts > 50);
}

#[test]
fn full_or_failing_disk_refuses_whole_groups_and_nothing_else() {
    let recording = record(short(2));
    let (mut refused, mut cut, mut ahead) = (0, 0, 0);
    for seed in 0..40 {
        let mut random = Random::new(seed, 8);
        let disk = Disk::new(seed);
        let (name, _registered) = mounted(&disk);
        let mut running = Running::open(&name).unwrap();
        let mut commits = 0;
        for step in &recording.steps {
            match random.below(6) {
                0 => disk.set_failing(true),
                1 => disk.set_room(Some(disk.bytes() + random.below(20_000))),
                _ => {}
            }
            let well = || {
                disk.set_failing(false);
                disk.set_room(None);
            };
            if let Step::Reopen = step {
                drop(running);
                well();
                running = Running::open(&name).unwrap();
            } else if running.step(step).is_ok() {
                commits += 1;
            } else {
                refused += 1;
                assert!(running.look().unwrap() == recording.pictures[commits], "half of a group");
                well();
                if random.below(2) == 0 {
                    // Refused uploads may be there after a cut: they were written, but not
                    // answered.
                    cut += 1;
                    disk.cut();
                    drop(running);
                    disk.restart();
                    running = Running::open(&name).unwrap();
                    if running.look().unwrap() == recording.pictures[commits + 1] {
                        ahead += 1;
                        commits += 1;
                        continue;
                    }
                    assert!(running.look().unwrap() == recording.pictures[commits], "seed {seed}");
                }
                running.step(step).unwrap();
                commits += 1;
            }
            well();
            assert!(running.look().unwrap() == recording.pictures[commits], "seed {seed}");
        }
        assert_eq!(commits + 1, recording.pictures.len());
        drop(running);
        assert_eq!(integrity(&name), "ok");
    }
    println!("trouble: {refused} groups refused, {cut} power cuts after that, {ahead} times ahead");
    assert!(refused > 50 && cut > 20, "{refused} {cut}");
}
