//! Messages of a few hundred bytes that unpack into as much as possible, many at once, from devices
//! with valid keys: the server's memory and disk stay bounded, and other clients are served.

use std::fs;
use std::path::Path;
use std::thread;

use ecowatt_model::{BatchId, BootEpoch, Sequence, SourceNumber, StreamNumber};
use ecowatt_wire::{Batch, ITEMS_MAX, Stream};

use crate::rig::link::{Peer, encoded, post};
use crate::rig::server::{Plant, Server};

/// Most memory of the server, in KiB: what is being decoded and what waits for the store, 64 MiB of
/// database pages to write and as many to read, rows in memory, and what the allocator keeps.
const MEMORY_MAX_KIB: u64 = 384 * 1024;
/// Disk for what a device may send at once, with some to spare.
const DISK_MAX_BYTES: u64 = 64 * 1024 * 1024;

const DAY_MS: i64 = 86_400_000;
const QUARTER_MS: i64 = 900_000;
/// 2021-01-01T00:00:00Z.
const FIRST_MS: i64 = 1_609_459_200_000;
const ROWS: i64 = 1024;

/// Contents of a message.
#[derive(Debug, Clone, Copy)]
struct Bomb {
    columns: u8,
    points: u8,
    step_ms: i64,
    batches: usize,
}

/// The bytes of a layout with this many columns and points, assigned to the columns in turn; built
/// by hand, because not all of them are allowed.
fn layout_of(columns: u8, points: u8) -> Vec<u8> {
    let head = |major: u8, n: u8| match n {
        0..24 => vec![major | n],
        _ => vec![major | 24, n],
    };
    let mut bytes = vec![0xa6, 0, 1, 1, 0x66];
    bytes.extend(b"x/bomb");
    bytes.extend([2, 1, 3, 0x81, 0x19, 0x03, 0xe8, 4, 0x81, 0x84, 0, 0, 0]);
    bytes.extend(head(0, columns));
    bytes.push(5);
    bytes.extend(head(0x80, points));
    for n in 0..points {
        bytes.extend([0xa4, 0, 0x66]);
        bytes.extend(format!("x.p{n:03}").into_bytes());
        // No unit, u16.
        bytes.extend([1, 0, 2, 0, 3]);
        bytes.extend(head(0, n % columns));
    }
    bytes
}

impl Bomb {
    /// The next message of a device, with batches that it has not sent before.
    fn message(self, peer: &mut Peer) -> Vec<u8> {
        let layout = layout_of(self.columns, self.points);
        let first = peer.counter * ITEMS_MAX as u64;
        let blocks: Vec<Vec<u8>> = (first..)
            .take(self.batches)
            .map(|n| {
                let from = FIRST_MS + i64::try_from(n).unwrap() % 100 * ROWS * self.step_ms;
                let times: Vec<i64> = (0..ROWS).map(|row| from + row * self.step_ms).collect();
                encoded(&times, &vec![7; self.columns.into()])
            })
            .collect();
        let sequences = u32::try_from(first).unwrap() + 1..;
        let mut batches = sequences.zip(&blocks).map(|(sequence, bytes)| Batch {
            id: BatchId { epoch: BootEpoch(1), sequence: Sequence(sequence) },
            stream: StreamNumber(1),
            bytes,
            start: None,
        });
        let stream = Stream { number: StreamNumber(1), source: SourceNumber(0), layout: &layout };
        peer.seal(|writer| {
            writer.batches(&mut batches, 0).unwrap();
            writer.streams(&mut std::iter::once(stream), 0).unwrap();
        })
    }
}

/// Peak memory of the server, in KiB (VmHWM in proc_pid_status(5)).
fn peak_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn size_of(folder: &Path) -> u64 {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// Sends all at once, each on its own connection, and returns the statuses.
fn send_at_once(host: &str, messages: &[Vec<u8>]) -> Vec<u16> {
    thread::scope(|scope| {
        let sending: Vec<_> = messages
            .iter()
            .map(|message| scope.spawn(|| post(host, "/link", message).status))
            .collect();
        sending.into_iter().map(|sent| sent.join().unwrap()).collect()
    })
}

#[test]
fn bombs_of_one_device_and_of_several_are_bounded_and_disturb_no_other() {
    let server = Server::start();
    let plant = Plant::start();
    let _victim = plant.agent(&server, &server.enrol("Roof", "Home"));
    let mut samples = server.wait_for_more_samples("dev-1", 0);
    let data = server.folder.path().join("data");
    let wide = Bomb { columns: 32, points: 128, step_ms: QUARTER_MS, batches: ITEMS_MAX };
    for (what, bomb, devices, each) in [
        ("one message", wide, 1, 1),
        ("32 of one device", wide, 1, 32),
        ("four each of six devices", wide, 6, 4),
        ("a day each row", Bomb { step_ms: DAY_MS / 2, ..wide }, 4, 4),
        ("few points", Bomb { columns: 10, points: 10, ..wide }, 4, 4),
        ("decoded where it arrives", Bomb { batches: 15, columns: 1, points: 4, ..wide }, 4, 4),
        ("all points on one column", Bomb { columns: 1, ..wide }, 4, 4),
        ("all columns", Bomb { columns: 128, step_ms: 60_000, ..wide }, 4, 4),
    ] {
        let mut messages = Vec::new();
        for number in 0..devices {
            let mut peer = Peer::enrol(&server, &server.enrol(&format!("{what} {number}"), "Far"));
            messages.extend((0..each).map(|_| bomb.message(&mut peer)));
        }
        let longest = messages.iter().map(Vec::len).max().unwrap();
        let before = size_of(&data);
        let statuses = send_at_once(server.url.strip_prefix("http://").unwrap(), &messages);
        let is_expected = |status: &u16| [200, 409, 429, 503].contains(status);
        assert!(
            statuses.contains(&200) && statuses.iter().all(is_expected),
            "{what}: {statuses:?}"
        );
        let (peak, grown) = (peak_kib(&server), size_of(&data).saturating_sub(before));
        println!("{what}: {longest} bytes, {statuses:?}, peak {peak} KiB, disk {grown} bytes");
        assert!(peak < MEMORY_MAX_KIB, "{what}: {peak} KiB");
        assert!(grown < DISK_MAX_BYTES * devices, "{what}: {grown} bytes");
        samples = server.wait_for_more_samples("dev-1", samples);
    }
}
