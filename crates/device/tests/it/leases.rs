//! Leases: kept before they act, the lowest followed, lifted as found, and proven.

use std::time::Duration;

use ecowatt_device::{
    Action, CompletedRead, Config, Controls, Credentials, Device, Inverter, LinkFailure,
    Permissions, ReadResult, Slot, SourceConfig, StartInfo, UplinkConfig, WriteResult,
};
use ecowatt_envelope::{DeviceKey, KeyId};
use ecowatt_model::{
    BootEpoch, Counter, DeviceNumber, KeyGeneration, MonoMs, SourceNumber, StreamNumber, UnixMs,
};
use ecowatt_profile::sunspec::FoundModel;
use ecowatt_profile::{Control, ControlPlace, Group, Plan, Read, Table};
use ecowatt_wire::BootReason;

use crate::rig::{NOON, PowerCut, Rig, check};

#[test]
fn a_lease_holds_for_its_time_and_leaves_what_it_found() {
    check(
        "start
         run 50s
         show read write lease
         lease 500 for=120
         run 40s
         show write lease
         run 200s",
        "50.000 read 0+8 ok
         55.000 read 0+8 ok
         60.000 read 0+8 ok
         60.020 read 20+2 ok
         61.044 lease generation 1
         61.064 read 21+1 ok
         61.084 read 21+1 ok
         61.104 write 21 = 50 Confirmed
         61.124 read 21+1 ok
         65.000 read 0+8 ok
         65.020 lease 500 by 1 Lease at 61044 held 100 2500 W 3956
         70.000 read 0+8 ok
         71.144 read 21+1 ok
         75.000 read 0+8 ok
         80.000 read 0+8 ok
         81.164 read 21+1 ok
         85.000 read 0+8 ok
         170.020 write 21 = 1021 Confirmed
         175.020 lease found Released at 170000 held 60 4000 W 5000",
    );
}

#[test]
fn the_lowest_of_several_counts_and_a_ramp_is_reported_step_by_step() {
    check(
        "start
         run 50s
         show write lease
         lease 500 for=400
         lease 300 for=60 from=30
         lease 900 for=400 ramp=30
         run 500s",
        "61.044 lease generation 3
         61.104 write 21 = 50 Confirmed
         65.040 lease 500 by 1 Lease at 61044 held 100 2500 W 3956
         80.020 write 21 = 30 Confirmed
         85.020 lease 300 by 2 Lease at 80000 held 60 1500 W 5000
         140.020 write 21 = 50 Confirmed
         145.020 lease 500 by 1 Lease at 140000 held 60 2500 W 5000
         450.020 write 21 = 90 Confirmed
         455.040 lease 900 by 3 Afterwards at 450000 held 60 4000 W 5000
         465.020 write 21 = 95 Confirmed
         470.040 lease 950 by 3 Afterwards at 465000 held 60 4000 W 5000
         480.020 write 21 = 1021 Confirmed
         485.020 lease found Released at 480000 held 60 4000 W 5000",
    );
}

#[test]
fn a_lost_link_falls_back_and_a_reply_ends_it() {
    check(
        "start
         run 50s
         show write lease
         lease 500 for=900 then=200 lost=120
         run 40s
         server away
         run 300s
         server well
         run 120s
         server away
         run 900s
         server well
         run 120s
         release all
         run 120s",
        "61.044 lease generation 1
         61.104 write 21 = 50 Confirmed
         65.020 lease 500 by 1 Lease at 61044 held 100 2500 W 3956
         185.060 write 21 = 20 Confirmed
         502.954 lease 200 by 1 Fallback at 185040 held 60 1000 W 4960
         502.994 write 21 = 50 Confirmed
         505.020 lease 500 by 1 Lease at 502974 held 60 2500 W 2026
         625.060 write 21 = 20 Confirmed
         1421.132 lease 200 by 1 Fallback at 625040 held 60 1000 W 4960
         1421.132 lease 200 by 1 Afterwards at 950000 held 20 1000 W 5000
         1541.152 lease generation 2
         1541.192 write 21 = 1021 Confirmed
         1545.020 lease found Released at 1541152 held 80 4000 W 3848",
    );
}

#[test]
fn a_device_that_starts_reads_and_does_not_write() {
    check(
        "start
         run 50s
         lease 500 for=1000 then=200
         run 40s
         server away
         power cut
         show write lease
         run 55s
         server well
         run 60s
         power cut
         server away
         system unset
         run 100s",
        "150.020 write 21 = 20 Confirmed
         166.609 lease 200 by 1 Fallback at 150000 held 60 1000 W 5000
         166.669 write 21 = 50 Confirmed
         170.020 lease 500 by 1 Lease at 166629 held 80 2500 W 3371
         265.020 write 21 = 20 Confirmed",
    );
}

#[test]
fn a_limit_that_the_inverter_lost_is_written_again() {
    check(
        "start
         run 50s
         lease 500 for=600
         run 40s
         show write lease
         inverter forgets
         run 15s
         order poke 21 80 @0
         run 60s
         inverter quiet
         run 60s
         inverter forgets
         inverter well
         run 60s",
        "91.204 write 21 = 50 Confirmed
         121.084 write 21 = 80 Confirmed
         121.304 write 21 = 50 Confirmed
         235.080 write 21 = 50 Confirmed
         240.040 lease 500 by 1 Lease at 235060 held 60 2500 W 4940",
    );
}

#[test]
fn what_an_inverter_cannot_do_is_reported_once() {
    check(
        "start
         run 50s
         show write lease
         writes refused 2
         lease 0 for=300
         run 100s
         writes well
         run 400s",
        "61.044 lease generation 1
         61.104 write 21 = 10 Exception(IllegalDataAddress)
         61.124 lease 100 by 1 Lease Exception 2 at 61044
         71.144 write 21 = 10 Exception(IllegalDataAddress)
         91.184 write 21 = 10 Exception(IllegalDataAddress)
         131.224 write 21 = 10 Exception(IllegalDataAddress)
         211.264 write 21 = 10 Confirmed
         215.020 lease 100 by 1 Lease at 211244 held 60 500 W 3756
         350.020 write 21 = 1021 Confirmed
         355.020 lease found Released at 350000 held 60 4000 W 5000",
    );
}

#[test]
fn an_owner_who_locked_the_device_locks_it_for_leases_too() {
    check(
        "owner locks
         start
         run 50s
         show write lease
         lease 0 for=300
         run 100s",
        "61.044 lease generation 1
         61.044 lease 0 by 1 Lease Locked 0 at 61044",
    );
}

#[test]
fn commands_for_a_leased_limit_are_refused() {
    check(
        "start
         run 50s
         lease 500 for=100
         run 60s
         show write result
         order limit 300 @0
         order watts 1000 @0
         order set 30 @0
         order read 21 1 @0
         run 120s
         order limit 300 @0
         run 60s",
        "121.044 result 1 Failed Leased 0 at 121044
         121.044 result 2 Failed Leased 0 at 121044
         121.044 result 3 Failed Leased 0 at 121044
         121.044 result 4 Accepted at 121044
         121.084 result 4 Succeeded at 121084 [00, 32]
         150.020 write 21 = 1021 Confirmed
         241.044 result 5 Accepted at 241044
         241.084 write 21 = 30 Confirmed
         241.124 result 5 Succeeded at 241124 [00, 1e]",
    );
}

#[test]
fn what_is_out_of_bounds_is_refused_and_the_rest_followed() {
    check(
        "start
         run 50s
         show write lease
         lease 1001 for=100
         lease 500 for=100 @3
         lease 400 for=60
         run 120s",
        "61.044 lease generation 3 1 OutOfBounds 2 NoSource
         61.104 write 21 = 40 Confirmed
         65.020 lease 400 by 3 Lease at 61044 held 100 2000 W 3956
         110.020 write 21 = 1021 Confirmed
         115.020 lease found Released at 110000 held 60 4000 W 5000",
    );
}

const LIFE: &str = "
    start
    run 50s
    lease 500 for=60 then=300
    run 40s
    lease 200 for=30
    inverter forgets
    run 60s
    release 1
    run 30s
    release all
    run 60s";

/// Wherever the power fails: what was found is restored in the end, and nothing else is ever
/// written than what the leases ask for and what was found.
#[test]
fn a_power_cut_at_any_action_loses_no_lease_and_not_what_was_found() {
    let mut rig = Rig::new(None);
    rig.run_script(LIFE);
    rig.run_script("run 200s");
    let actions = rig.actions;
    for at_action in 1..=actions {
        for is_done in [false, true] {
            let mut rig = Rig::new(Some(PowerCut { at_action, is_done }));
            rig.run_script(LIFE);
            rig.run_script("server well\nrun 200s");
            assert_eq!(rig.limit(), 1_021, "{at_action} {is_done}");
            let written = rig.limits_written();
            let is_asked = |limit: &u16| [20, 30, 50, 1_021].contains(limit);
            assert!(written.iter().all(is_asked), "{at_action} {is_done}: {written:?}");
            assert_eq!(rig.kept(Slot::Limits).len(), 6, "nothing is left of them");
            rig.check_delivered();
        }
    }
}

const MODEL: FoundModel = FoundModel { id: 123, address: 40_182, length: 24 };
const SOURCE: SourceNumber = SourceNumber(0);

/// The limit of a SunSpec inverter.
struct SunSpec;

impl Controls for SunSpec {
    fn find(&self, _: SourceNumber, _: &str) -> Option<Control> {
        let one_of = heapless::Vec::new();
        let (place, min, max) = (ControlPlace::Limit(MODEL), Some(0), Some(1_000));
        Some(Control { place, multiplier: 1, exponent: -1, min, max, step: None, one_of })
    }

    fn rated_w(&self, _: SourceNumber) -> Option<u32> {
        None
    }
}

/// Three minutes without a server, with a lease in flash that then states 20 %. Returns what is
/// written to model 123, and in which second.
fn written_to_model_123(registers: &mut [u16; 26]) -> Vec<(u64, u16, Vec<u16>)> {
    let plan = Plan::new(
        &[Group { every_ms: 5_000 }],
        &[Read::of_all(Table::Holding, MODEL.address, 2, 0, 0)],
        None,
    );
    let (stream, timeout_max) = (StreamNumber(1), Duration::from_secs(1));
    let config =
        SourceConfig { number: SOURCE, stream, plan: plan.unwrap(), interval: None, timeout_max };
    let mut inverters = [Inverter::<4, 64>::IDLE];
    inverters[0].configure(&config, MonoMs(0)).unwrap();
    let mut settings = Config::new(UplinkConfig {
        interval: Duration::from_secs(60),
        message_bytes_max: 8 * 1024,
        seed: 1,
    });
    settings.permissions = Permissions { reboot: false, writes: true };
    let started = StartInfo {
        epoch: BootEpoch(1),
        reason: BootReason::Unclean,
        system: Some(UnixMs(NOON)),
        firmware: heapless::String::new(),
    };
    let credentials = Credentials {
        kid: KeyId { device: DeviceNumber(7), generation: KeyGeneration(1) },
        key: DeviceKey::new([5; 32]),
        reserved: Counter(0),
    };
    let mut lease = vec![1, 0, 0, 0, 1, 1, 0, 0, 0, 1];
    lease.extend(u32::try_from(NOON / 1_000).unwrap().to_be_bytes());
    lease.extend(u32::try_from(NOON / 1_000 + 600).unwrap().to_be_bytes());
    lease.extend([0, 0, 0x01, 0xf4, 0, 0, 0, 200, 0, 0, 0, 60, 0, 5, 4, 255]);
    let kept = |slot: Slot| (slot == Slot::Limits).then_some(&lease[..]);
    let mut core = Device::new(settings, started, &credentials, inverters, &kept, MonoMs(0));
    let (mut now, mut written, mut message) = (MonoMs(0), Vec::new(), vec![0; 8 * 1024]);
    while now.0 < 180_000 {
        let Some(action) = core.poll_action(now) else {
            now = core.poll_at().max(MonoMs(now.0 + 1));
            continue;
        };
        match action {
            Action::Read { read, .. } => {
                let first = usize::from(read.address - MODEL.address);
                let result = ReadResult::Words(&registers[first..first + usize::from(read.count)]);
                let latency = Duration::ZERO;
                core.handle_read(now, SOURCE, &CompletedRead { began: now, latency, result });
            }
            Action::Write { write, .. } => {
                let first = usize::from(write.address - MODEL.address);
                registers[first..first + write.words().len()].copy_from_slice(write.words());
                written.push((now.0 / 1_000, write.address, write.words().to_vec()));
                core.handle_write(now, SOURCE, WriteResult::Confirmed);
            }
            Action::Limit(source) => core.limit(now, source, &SunSpec),
            Action::Draft(source) => core.handle_drafted(source, true),
            Action::Keep(slot) => core.handle_kept(now, slot, true),
            Action::Reserve(limit) => core.handle_reserved(limit),
            Action::Send => {
                let none = &mut std::iter::empty();
                core.compose(now, none, &[], &mut std::iter::empty(), &mut message).unwrap();
                core.handle_link_failure(now, LinkFailure::Unreachable);
            }
            Action::Cut(_) | Action::End(_) => panic!("{action:?}"),
        }
    }
    written
}

/// Model 123 with its header, a limit of 100 % that is off, and a scale factor of -1.
fn model_123(reversion_s: u16) -> [u16; 26] {
    let mut registers = [0; 26];
    (registers[0], registers[1], registers[23]) = (MODEL.id, MODEL.length, 0xFFFF);
    (registers[5], registers[7]) = (1_000, reversion_s);
    registers
}

#[test]
fn a_limit_that_the_inverter_drops_by_itself_is_written_again_after_half_of_its_time() {
    let written = written_to_model_123(&mut model_123(60));
    let seconds: Vec<u64> = written.iter().map(|(second, ..)| *second).collect();
    assert_eq!(seconds, [60, 90, 120, 150]);
    let is_kept = |(_, address, words): &(u64, u16, Vec<u16>)| {
        (*address, &words[..]) == (40_187, &[200, 0, 60, 0, 1][..])
    };
    assert!(written.iter().all(is_kept), "{written:?}");
    // Without such a time, it is written once and looked at.
    let written = written_to_model_123(&mut model_123(0));
    assert_eq!(written, [(60, 40_187, vec![200, 0, 0, 0, 1])]);
}

#[test]
fn a_device_that_has_little_to_send_stays_in_touch_for_its_leases() {
    check(
        "want upload_interval=900000 check_in_interval=3600000 sampling_interval=60000
         start
         run 50s
         lease 500 for=3000 lost=20 then=0
         order upload
         run 1000s
         show write lease
         run 1000s",
        "",
    );
}

#[test]
fn a_device_that_waits_for_commands_stays_in_touch_for_its_leases() {
    check(
        "server waits
         want upload_interval=900000 command_wait=60000 sampling_interval=60000
         start
         run 50s
         lease 500 for=600 lost=20 then=0
         run 100s
         show write lease wait
         run 60s
         show write lease
         run 400s
         show wait
         run 250s",
        "150.260 wait up to 10s
         160.280 wait up to 10s
         170.300 wait up to 10s
         180.320 wait up to 10s
         190.340 wait up to 10s
         200.360 wait up to 10s
         611.180 wait up to 10s
         621.200 wait up to 10s
         631.220 wait up to 10s
         641.240 wait up to 10s
         651.260 wait up to 60s
         660.040 wait given up
         660.060 wait up to 60s
         720.080 wait up to 60s
         780.100 wait up to 60s
         840.120 wait up to 59.98s",
    );
}
