//! Runs a node on an emulated riscv32imc processor and prints what one sample and one upload cost.
//!
//! Not firmware: its disk is memory and its inverter answers at once. The instructions are exact
//! (`minstret` under QEMU's `-icount shift=0`) and leave out flash, radio and waiting.
#![no_std]
#![no_main]

extern crate alloc;

mod gauge;
mod memory;
mod update;

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ecowatt_device::{Permissions, CompletedRead, ReadResult, limits};
use ecowatt_envelope::{DeviceKey, KeyId, LinkKeys, UnverifiedUplink, seal_reply};
use ecowatt_model::{DeviceNumber, KeyGeneration, MonoMs, SourceNumber, UnixMs};
use ecowatt_node::storage::{Identity, Ledger, SendOrder, Record};
use ecowatt_node::{WorkOutcome, NodeAction, Node, NodeConfig, SourceControls, SourceSetup};
use ecowatt_profile::{Group, Plan, Read, Table};
use ecowatt_wire::ReplyWriter;
use semihosting::{println, process};

use crate::gauge::measured;
use crate::memory::Memory;

/// Registers of a typical string inverter's profile.
const COLUMNS: usize = 32;
/// Twice the samples between two uploads.
const ROWS: usize = 32;
const UPLOAD: Duration = Duration::from_secs(900);
const SAMPLE: Duration = Duration::from_secs(60);
/// 2026-01-01T12:00:00Z.
const NOON: UnixMs = UnixMs(1_767_268_800_000);
const DEVICE: DeviceNumber = DeviceNumber(7);
const KEY: [u8; 32] = [9; 32];
const SOURCE: SourceNumber = SourceNumber(0);

type SmallNode = Node<Memory, COLUMNS, ROWS>;

#[riscv_rt::entry]
fn main() -> ! {
    gauge::init_heap();
    update::measure();
    let disk = Memory::default();
    let mut node = measured("start", || start(&disk));
    let (mut now, mut reads) = (MonoMs(1), 0_u16);
    loop {
        while let Some(next) = node.poll(now) {
            match next {
                NodeAction::Read { source, read, .. } => {
                    reads = reads.wrapping_add(1);
                    // Slow and fast values, as registers of an inverter have them.
                    let mut words = [0; COLUMNS];
                    for (place, word) in words.iter_mut().enumerate() {
                        *word = match place % 4 {
                            0 => 230,
                            1 => 5_000 + reads,
                            2 => reads.wrapping_mul(40_503) >> 8,
                            _ => 0,
                        };
                    }
                    let result = ReadResult::Words(&words[..usize::from(read.count)]);
                    let latency = Duration::from_millis(20);
                    let outcome = CompletedRead { began: now, latency, result };
                    node.handle_read(now, source, &outcome);
                }
                // No command comes.
                NodeAction::End(_) | NodeAction::Write { .. } => process::exit(1),
                NodeAction::Work(work) => {
                    let done = measured(name(work), || node.carry_out(work, || now));
                    if let WorkOutcome::Composed { message, .. } = &done
                        && !message.batches.is_empty()
                    {
                        println!(
                            "message of {} bytes, batches {}",
                            message.bytes.len(),
                            message.batches.len()
                        );
                        gauge::report();
                        process::exit(0);
                    }
                    if let WorkOutcome::Composed { message, .. } = done {
                        let reply = reply_to(&message.bytes);
                        let freed = measured("reply", || node.handle_reply(&reply, || now));
                        freed.expect("a reply to this message");
                    }
                }
            }
        }
        now = node.poll_at().max(MonoMs(now.0 + 1));
        assert!(now.0 < 4 * 900_000, "no message carried a batch");
    }
}

/// A server's reply that acknowledges nothing and knows the time.
fn reply_to(message: &[u8]) -> Vec<u8> {
    let sealed = UnverifiedUplink::parse(message).expect("a sealed message");
    let kid = KeyId { device: DEVICE, generation: KeyGeneration(1) };
    let keys = LinkKeys::derive(&DeviceKey::new(KEY), kid);
    let mut reply = vec![0; 1024];
    let mut writer = ReplyWriter::new(&mut reply);
    writer.time(NOON).expect("a large buffer");
    let len = writer.finish();
    let len =
        seal_reply(&keys, sealed.request(), &[1; 12], &mut reply, len).expect("a large buffer");
    reply.truncate(len);
    reply
}

fn name(work: ecowatt_node::DiskWork) -> &'static str {
    use ecowatt_node::DiskWork;
    match work {
        DiskWork::Keep(_) => "keep a slot",
        DiskWork::Draft(_) => "sample to journal",
        DiskWork::Cut(_) => "batch to spool",
        DiskWork::Reserve(_) => "reserve counters",
        DiskWork::Send => "message",
    }
}

fn start(disk: &Memory) -> SmallNode {
    let identity = Identity {
        device: DEVICE.0,
        key_generation: 1,
        claim_id: "test".into(),
        key: KEY.to_vec(),
    };
    let mut ledger = Ledger::open(disk.clone()).expect("memory works");
    let record = Record { identity: Some(identity), ..Record::default() };
    ledger.store(record).expect("memory works");
    let every_ms = u32::try_from(SAMPLE.as_millis()).unwrap_or(u32::MAX);
    let reads = [Read::of_all(Table::Holding, 0, 32, 0, 0)];
    let plan = Plan::new(&[Group { every_ms }], &reads, None).expect("a small plan");
    let config = NodeConfig {
        spool_bytes: 64 * 1024,
        message_bytes: 4 * 1024,
        upload_interval: UPLOAD,
        order: SendOrder::BacklogOldestFirst,
        start_tolerance: limits::START_TOLERANCE,
        log_level: None,
            permissions: Permissions::default(),
        firmware: "measure",
        seed: 7,
    };
    let source = SourceSetup {
        number: SOURCE,
        plan,
        controls: SourceControls::default(),
        layout: vec![0xA0; 600],
        interval: Some(SAMPLE),
        timeout_max: Duration::from_secs(1),
    };
    SmallNode::start(&config, ledger, disk.clone(), vec![source], || (MonoMs(1), Some(NOON)))
        .expect("memory works")
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    process::exit(101)
}
