//! Commands from the server: executed at most once, and every one ends.

use crate::rig::{PowerCut, Rig, check};

#[test]
fn a_command_is_kept_then_executed_then_reported_at_once() {
    check(
        "start
         run 63s
         show send result event cut
         order upload
         order clear @0
         run 70s",
        "100.020 cut 1/4 of 8 rows
         121.024 cut 1/5 of 4 rows
         121.024 send 2 batches, 0 layouts
         121.044 event Command { id: CommandId(16909060), state: Accepted, failure: None }
         121.044 event Command { id: CommandId(16909061), state: Accepted, failure: None }
         121.044 event Command { id: CommandId(16909060), state: Succeeded, failure: None }
         121.044 event Command { id: CommandId(16909061), state: Succeeded, failure: None }
         121.044 send 0 batches, 0 layouts
         121.044 result 1 Succeeded at 121044
         121.044 result 2 Succeeded at 121044",
    );
}

#[test]
fn what_a_device_does_not_do_fails() {
    check(
        "start
         run 50s
         show result
         order diagnose
         order clear @3
         order 99
         run 30s",
        "61.044 result 1 Failed Unsupported 0 at 61044
         61.044 result 2 Failed NoSource 0 at 61044
         61.044 result 3 Failed Unsupported 0 at 61044",
    );
}

#[test]
fn a_restart_ends_the_epoch_once_and_the_next_one_reports_it() {
    check(
        "start
         run 50s
         show keep result end
         order restart
         order reboot
         run 100s",
        "61.044 keep commands [01, 01, 02, 03, 05, 00, 00, 00, 00, 00, 00, 00, 03, 01, 02, 03, 04, 00, 01, 00, 00, 00, 00, 00, 01, 9b, 79, 6e, c4, 74, 01, 02, 03, 05, 00, 01, 00, 00, 00, 00, 00, 01, 9b, 79, 6e, c4, 74]
         61.044 keep commands [01, 01, 02, 03, 05, 00, 00, 00, 00, 00, 00, 00, 03, 01, 02, 03, 04, 01, 01, 00, 00, 00, 00, 00, 01, 9b, 79, 6e, c4, 74, 01, 02, 03, 05, 00, 01, 00, 00, 00, 00, 00, 01, 9b, 79, 6e, c4, 74]
         61.044 end Restart
         61.044 keep commands [01, 01, 02, 03, 05, 00, 00, 00, 00, 00, 00, 00, 03, 01, 02, 03, 04, 01, 02, 00, 00, 00, 00, 00, 01, 9b, 79, 6e, c4, 74, 01, 02, 03, 05, 00, 00, 00, 00, 00, 00, 00, 01, 9b, 79, 6e, c4, 74]
         61.044 result 1 Succeeded at 61044
         61.044 result 2 Unknown at 61044",
    );
}

#[test]
fn a_factory_reset_returns_to_the_devices_own_configuration() {
    check(
        "want upload_interval=30000
         start
         run 50s
         show keep result end report
         order reset
         run 100s",
        "60.612 keep commands [01, 01, 02, 03, 04, 00, 00, 00, 00, 00, 00, 00, 01, 01, 02, 03, 04, 00, 01, 00, 00, 00, 00, 00, 01, 9b, 79, 6e, c2, c4]
         60.612 keep commands [01, 01, 02, 03, 04, 00, 00, 00, 00, 00, 00, 00, 01, 01, 02, 03, 04, 03, 01, 00, 00, 00, 00, 00, 01, 9b, 79, 6e, c2, c4]
         60.612 end Restart
         60.612 keep desired [01, 00, 00, 00, 01, 03, 00, 00, 00, 00, 00, 00, 00]
         60.612 keep commands [01, 01, 02, 03, 04, 00, 00, 00, 00, 00, 00, 00, 01, 01, 02, 03, 04, 03, 02, 00, 00, 00, 00, 00, 01, 9b, 79, 6e, c2, c4]
         60.612 report 1 Reverted
         60.612 result 1 Succeeded at 60612",
    );
}

#[test]
fn a_command_waits_for_its_time_and_expires_after_it() {
    check(
        "start
         run 50s
         show result send
         order clear after=30 by=40
         order clear after=20 by=40
         order clear after=25 by=70
         order clear after=40 by=35
         order clear by=3
         run 100s",
        "61.024 send 2 batches, 0 layouts
         61.044 send 0 batches, 0 layouts
         61.044 result 1 Accepted at 61044
         61.044 result 2 Accepted at 61044
         70.000 send 0 batches, 0 layouts
         70.000 result 2 Succeeded at 70000
         70.020 send 0 batches, 0 layouts
         70.020 result 3 Accepted at 70020
         75.000 send 0 batches, 0 layouts
         75.000 result 3 Succeeded at 75000
         75.020 send 0 batches, 0 layouts
         75.020 result 4 Accepted at 75020
         80.000 send 0 batches, 0 layouts
         80.000 result 1 Succeeded at 80000
         85.020 send 0 batches, 0 layouts
         85.020 result 4 Expired at 85020
         121.024 send 2 batches, 0 layouts",
    );
}

#[test]
fn nothing_is_executed_that_cannot_be_kept() {
    check(
        "start
         run 50s
         flash full
         show result end
         order restart
         run 40s
         flash well
         order upload
         run 40s",
        "61.044 result 1 Failed Storage 0 at 61044
         121.044 result 2 Succeeded at 121044",
    );
}

#[test]
fn a_command_that_cannot_be_kept_fails_for_the_log_as_well() {
    check(
        "start
         run 50s
         flash full
         order upload
         run 11030ms
         show event
         run 500ms",
        "61.044 event Command { id: CommandId(16909060), state: Accepted, failure: None }
         61.044 event Command { id: CommandId(16909060), state: Failed, failure: Storage }",
    );
}

#[test]
fn a_device_that_does_not_know_the_time_executes_nothing() {
    check(
        "system unset
         time -1700000000000
         show result
         start
         run 5s
         order upload by=100000
         run 60s",
        "61.044 result 1 Failed NoTime 0 at -",
    );
}

#[test]
fn a_number_that_comes_again_is_answered_and_not_executed() {
    check(
        "start
         run 30s
         show result end
         order restart by=1000
         run 40s
         order again 1
         run 60s
         power cut
         order again 1
         run 60s
         order clear
         order clear
         order clear
         order clear
         run 70s
         order again 1
         run 70s",
        "61.044 end Restart
         61.044 result 1 Succeeded at 61044
         122.088 result 1 Succeeded at 61044
         130.000 result 1 Succeeded at 61044
         191.004 result 2 Succeeded at 191004
         191.004 result 3 Succeeded at 191004
         191.004 result 4 Succeeded at 191004
         191.004 result 5 Succeeded at 191004
         311.004 result 1 Unknown at 311004",
    );
}

#[test]
fn what_was_read_survives_a_power_cut_until_the_server_has_it() {
    check(
        "start
         run 50s
         order read 5 2 @0
         order upload
         run 11050ms
         server away
         show result
         run 5s
         power cut
         server well
         run 60s",
        "66.064 result 1 Succeeded at 61084 [03, ed, 03, ee]
         66.064 result 2 Succeeded at 61044",
    );
}

#[test]
fn registers_are_read_between_two_reads_of_a_sample() {
    check(
        "start
         run 59990ms
         show result read send
         order read 5 2 @0
         order read 100 30 @0
         order read 200 3 @0
         order read 0 1
         run 2s
         inverter exception 4
         order read 5 2 @0
         run 60s
         inverter quiet
         order read 5 2 @0
         run 62s",
        "60.000 read 0+8 ok
         60.020 read 20+2 ok
         61.024 send 2 batches, 0 layouts
         61.044 send 0 batches, 0 layouts
         61.044 result 1 Accepted at 61044
         61.044 result 2 Accepted at 61044
         61.044 result 3 Accepted at 61044
         61.044 result 4 Failed NoSource 0 at 61044
         61.064 read 5+2 ok
         61.084 send 0 batches, 0 layouts
         61.084 result 1 Succeeded at 61084 [03, ed, 03, ee]
         61.104 read 100+30 ok
         61.124 send 0 batches, 0 layouts
         61.124 result 2 Succeeded at 61124 [04, 4c, 04, 4d, 04, 4e, 04, 4f, 04, 50, 04, 51, 04, 52, 04, 53, 04, 54, 04, 55, 04, 56, 04, 57, 04, 58, 04, 59, 04, 5a, 04, 5b, 04, 5c, 04, 5d, 04, 5e, 04, 5f, 04, 60, 04, 61, 04, 62, 04, 63, 04, 64, 04, 65, 04, 66, 04, 67, 04, 68, 04, 69]
         61.144 read 200+3 ok
         61.164 send 0 batches, 0 layouts
         61.164 result 3 Succeeded at 61164 [04, b0, 04, b1, 04, b2]
         65.000 read 0+8 exception 4
         70.000 read 0+8 exception 4
         75.000 read 0+8 exception 4
         85.000 read 0+8 exception 4
         95.000 read 0+8 exception 4
         105.000 read 0+8 exception 4
         120.000 read 0+8 exception 4
         120.020 read 20+2 exception 4
         121.024 send 1 batches, 0 layouts
         121.044 send 0 batches, 0 layouts
         121.044 result 5 Accepted at 121044
         121.064 read 5+2 exception 4
         121.084 send 0 batches, 0 layouts
         121.084 result 5 Failed Exception 4 at 121084
         135.000 read 0+8 timeout 1s
         155.000 read 20+2 timeout 1s
         175.000 read 0+8 timeout 1s
         181.024 send 1 batches, 0 layouts
         181.044 send 0 batches, 0 layouts
         181.044 result 6 Accepted at 181044
         181.064 read 5+2 timeout 1s
         182.064 send 0 batches, 0 layouts
         182.064 result 6 Failed NoAnswer 0 at 182064",
    );
}

const LIFE: &str = "
    want upload_interval=30000
    start
    run 20s
    order upload
    order restart
    run 40s
    order reset
    order clear after=20
    run 40s
    server deaf
    order read 3 2 @0
    order reboot by=300
    run 50s
    server well
    run 60s";

#[test]
fn a_power_cut_at_any_action_repeats_no_command() {
    let mut rig = Rig::new(None);
    rig.run_script(LIFE);
    rig.run_script("run 200s");
    rig.check_ended();
    rig.check_delivered();
    let actions = rig.actions;
    assert!(rig.keeps > 8, "only {} slots kept", rig.keeps);
    for at_action in 1..=actions {
        for is_done in [false, true] {
            let mut rig = Rig::new(Some(PowerCut { at_action, is_done }));
            rig.run_script(LIFE);
            rig.run_script("server well\nrun 200s");
            rig.check_ended();
            rig.check_delivered();
        }
    }
}
