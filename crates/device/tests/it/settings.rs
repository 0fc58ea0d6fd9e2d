//! Settings from the server: when they are used, confirmed, given up and reported.

use crate::rig::{PowerCut, Rig, check};

#[test]
fn settings_are_used_from_the_next_batch_on_and_reported() {
    check(
        "start
         run 60s
         show sample cut send keep report event
         want sampling_interval=10000 upload_interval=30000
         run 100s",
        "60.040 sample 60000 rrrrrrrrrr
         61.024 cut 1/3 of 4 rows
         61.024 send 2 batches, 0 layouts
         61.044 keep desired [01, 00, 00, 00, 01, 02, 00, 00, 00, 00, 00, 02, 00, 01, 00, 00, 00, 27, 10, 02, 00, 00, 00, 75, 30]
         61.044 event Settings { generation: ConfigGeneration(1), state: Trial, refused: 0 }
         61.044 send 0 batches, 0 layouts
         61.044 report 1 Trial
         61.064 event Settings { generation: ConfigGeneration(1), state: Applied, refused: 0 }
         61.064 keep desired [01, 00, 00, 00, 01, 01, 00, 00, 00, 00, 00, 02, 00, 01, 00, 00, 00, 27, 10, 02, 00, 00, 00, 75, 30]
         61.064 send 0 batches, 0 layouts
         61.064 report 1 Applied
         70.040 sample 70000 rrrrrrrrrr
         80.020 sample 80000 rrrrrrrr--
         90.020 sample 90000 rrrrrrrr--
         91.064 cut 1/4 of 3 rows
         91.064 send 1 batches, 0 layouts
         100.020 sample 100000 rrrrrrrr--
         110.020 sample 110000 rrrrrrrr--
         120.040 sample 120000 rrrrrrrrrr
         121.064 cut 1/5 of 3 rows
         121.064 send 1 batches, 0 layouts
         130.020 sample 130000 rrrrrrrr--
         140.020 sample 140000 rrrrrrrr--
         150.020 sample 150000 rrrrrrrr--
         151.064 cut 1/6 of 3 rows
         151.064 send 1 batches, 0 layouts",
    );
}

/// Its database is a backup's, which knows the desired settings and not that they are in use.
#[test]
fn settings_that_a_server_sends_again_are_reported_again() {
    check(
        "start
         run 5s
         want sampling_interval=10000 upload_interval=30000
         run 100s
         show keep report event
         server restored
         run 100s",
        "151.064 report 1 Applied",
    );
}

#[test]
fn values_are_refused_one_by_one() {
    check(
        "show report
         want sampling_interval@0=2000 sampling_interval@3=2000 batch_rows=17 upload_interval=1 \
              power_policy=3 command_wait=60000 log_level=3 200=7 200@9=7 revert_after=60000
         start
         run 10s",
        "0.000 report 0 Applied
         0.020 report 1 Trial 1@3 NoSource 5 OutOfBounds 2 OutOfBounds 7 OutOfBounds 6 Unsupported 200 Unknown 200@9 Unknown
         0.040 report 1 Applied 1@3 NoSource 5 OutOfBounds 2 OutOfBounds 7 OutOfBounds 6 Unsupported 200 Unknown 200@9 Unknown",
    );
}

#[test]
fn settings_with_which_the_server_cannot_be_reached_are_given_up() {
    check(
        "show send report event
         start
         run 5s
         want upload_interval=20000
         run 60s
         server leaves
         want upload_interval=40000 revert_after=60000
         run 150s
         server well
         run 100s",
        "0.000 send 0 batches, 1 layouts
         0.000 report 0 Applied
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.060 send 1 batches, 0 layouts
         61.024 send 2 batches, 0 layouts
         61.044 event Settings { generation: ConfigGeneration(1), state: Trial, refused: 0 }
         61.044 send 0 batches, 0 layouts
         61.044 report 1 Trial
         61.064 event Settings { generation: ConfigGeneration(1), state: Applied, refused: 0 }
         61.064 send 0 batches, 0 layouts
         61.064 report 1 Applied
         81.064 send 1 batches, 0 layouts
         81.084 event Settings { generation: ConfigGeneration(2), state: Trial, refused: 0 }
         81.084 send 0 batches, 0 layouts
         81.104 event LinkLost { failure: Unreachable, retry_in: 1.616s }
         82.720 send 0 batches, 0 layouts
         84.883 send 0 batches, 0 layouts
         91.136 send 1 batches, 0 layouts
         100.544 send 1 batches, 0 layouts
         118.920 send 1 batches, 0 layouts
         141.084 event Settings { generation: ConfigGeneration(2), state: Reverted, refused: 0 }
         154.186 send 2 batches, 0 layouts
         248.088 send 4 batches, 0 layouts
         248.088 report 2 Reverted
         248.108 event LinkRestored { failures: 7 }
         268.088 send 2 batches, 0 layouts
         288.088 send 1 batches, 0 layouts
         308.088 send 1 batches, 0 layouts",
    );
}

#[test]
fn a_pause_that_the_server_asks_for_does_not_count_against_settings() {
    check(
        "show send report event
         start
         run 5s
         server pause 600
         want upload_interval=30000 revert_after=60000
         run 57s
         server well
         run 620s",
        "0.000 send 0 batches, 1 layouts
         0.000 report 0 Applied
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.060 send 1 batches, 0 layouts
         61.024 send 2 batches, 0 layouts
         61.044 event Settings { generation: ConfigGeneration(1), state: Trial, refused: 0 }
         661.044 send 15 batches, 0 layouts
         661.044 report 1 Trial
         661.064 event Settings { generation: ConfigGeneration(1), state: Applied, refused: 0 }
         661.064 send 0 batches, 0 layouts
         661.064 report 1 Applied",
    );
}

#[test]
fn check_ins_between_uploads_carry_no_batches() {
    check(
        "start
         run 55s
         show cut send report
         want check_in_interval=15000
         run 130s",
        "61.024 cut 1/3 of 4 rows
         61.024 send 2 batches, 0 layouts
         61.044 send 0 batches, 0 layouts
         61.044 report 1 Trial
         61.064 send 0 batches, 0 layouts
         61.064 report 1 Applied
         76.084 send 0 batches, 0 layouts
         91.104 send 0 batches, 0 layouts
         100.020 cut 1/4 of 8 rows
         106.124 send 0 batches, 0 layouts
         121.064 cut 1/5 of 4 rows
         121.064 send 2 batches, 0 layouts
         136.084 send 0 batches, 0 layouts
         151.104 send 0 batches, 0 layouts
         160.020 cut 1/6 of 8 rows
         166.124 send 0 batches, 0 layouts
         181.064 cut 1/7 of 4 rows
         181.064 send 2 batches, 0 layouts",
    );
}

#[test]
fn a_device_saves_power_while_its_inverters_sleep() {
    check(
        "want power_policy=1 check_in_interval=20000 upload_interval=30000
         inverter dusk
         start
         show send report event
         run 700s
         inverter well
         run 200s",
        "0.000 send 0 batches, 1 layouts
         0.000 report 0 Applied
         0.020 event Settings { generation: ConfigGeneration(1), state: Trial, refused: 0 }
         0.020 send 0 batches, 0 layouts
         0.020 report 1 Trial
         0.040 event Settings { generation: ConfigGeneration(1), state: Applied, refused: 0 }
         0.040 send 0 batches, 0 layouts
         0.040 report 1 Applied
         0.100 event Source { source: SourceNumber(0), from: Unknown, to: Asleep }
         0.100 send 1 batches, 0 layouts
         300.120 send 0 batches, 0 layouts
         304.844 send 8 batches, 0 layouts
         604.844 send 8 batches, 0 layouts
         700.020 event Source { source: SourceNumber(0), from: Asleep, to: Online }
         720.020 send 0 batches, 0 layouts
         730.020 send 4 batches, 0 layouts
         750.040 send 0 batches, 0 layouts
         760.020 send 1 batches, 0 layouts
         780.040 send 0 batches, 0 layouts
         790.020 send 1 batches, 0 layouts
         810.040 send 0 batches, 0 layouts
         820.020 send 1 batches, 0 layouts
         840.040 send 0 batches, 0 layouts
         850.020 send 1 batches, 0 layouts
         870.040 send 0 batches, 0 layouts
         880.020 send 1 batches, 0 layouts",
    );
}

#[test]
fn a_device_on_a_battery_always_saves_power() {
    check(
        "want power_policy=2
         start
         show send report
         run 1300s",
        "0.000 send 0 batches, 1 layouts
         0.000 report 0 Applied
         0.020 send 0 batches, 0 layouts
         0.020 report 1 Trial
         0.040 send 0 batches, 0 layouts
         0.040 report 1 Applied
         0.100 send 1 batches, 0 layouts
         304.844 send 8 batches, 0 layouts
         604.844 send 8 batches, 0 layouts
         904.844 send 8 batches, 0 layouts
         1204.844 send 8 batches, 0 layouts",
    );
}

#[test]
fn an_open_batch_is_cut_before_the_interval_changes() {
    check(
        "want check_in_interval=15000
         start
         run 70s
         show sample cut send report
         want sampling_interval=1000
         run 20s",
        "70.020 sample 70000 rrrrrrrr--
         75.020 sample 75000 rrrrrrrr--
         76.084 send 0 batches, 0 layouts
         76.104 cut 1/4 of 3 rows
         76.104 send 1 batches, 0 layouts
         76.104 report 2 Trial
         76.124 send 0 batches, 0 layouts
         76.124 report 2 Applied
         77.040 sample 77000 rrrrrrrrrr
         78.020 sample 78000 rrrrrrrr--
         79.020 sample 79000 rrrrrrrr--
         80.020 sample 80000 rrrrrrrr--
         81.020 sample 81000 rrrrrrrr--
         82.020 sample 82000 rrrrrrrr--
         83.020 sample 83000 rrrrrrrr--
         84.020 sample 84000 rrrrrrrr--
         84.020 cut 1/5 of 8 rows
         85.020 sample 85000 rrrrrrrr--
         86.020 sample 86000 rrrrrrrr--
         87.020 sample 87000 rrrrrrrr--
         88.020 sample 88000 rrrrrrrr--
         89.020 sample 89000 rrrrrrrr--",
    );
}

#[test]
fn a_device_that_starts_over_and_over_gives_up_what_it_tries() {
    check(
        "show report event
         start
         run 5s
         server leaves
         want upload_interval=30000
         run 60s
         power cut
         start
         run 1s
         power cut
         start
         run 1s
         power cut
         start
         run 1s
         server well
         run 10s",
        "0.000 report 0 Applied
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         61.044 event Settings { generation: ConfigGeneration(1), state: Trial, refused: 0 }
         61.064 event LinkLost { failure: Unreachable, retry_in: 1.616s }
         65.000 event power cut
         65.020 event LinkLost { failure: Unreachable, retry_in: 1.015s }
         65.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         66.000 event power cut
         66.020 event LinkLost { failure: Unreachable, retry_in: 1.015s }
         66.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         67.000 event power cut
         67.000 event Settings { generation: ConfigGeneration(1), state: Reverted, refused: 0 }
         67.020 event LinkLost { failure: Unreachable, retry_in: 1.015s }
         67.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         68.035 report 1 Reverted
         68.055 event LinkRestored { failures: 1 }",
    );
}

#[test]
fn full_flash_keeps_the_former_settings() {
    check(
        "start
         run 45s
         show send keep report event
         flash full
         want upload_interval=30000
         run 28s
         flash well
         run 60s",
        "45.020 event SampleNotDrafted { source: SourceNumber(0) }
         50.020 event SampleNotDrafted { source: SourceNumber(0) }
         55.020 event SampleNotDrafted { source: SourceNumber(0) }
         60.040 event SampleNotDrafted { source: SourceNumber(0) }
         61.024 event BatchNotPersisted { source: SourceNumber(0) }
         61.024 send 1 batches, 0 layouts
         61.044 keep desired [01, 00, 00, 00, 01, 02, 00, 00, 00, 00, 00, 01, 00, 02, 00, 00, 00, 75, 30]
         65.020 event SampleNotDrafted { source: SourceNumber(0) }
         70.020 event SampleNotDrafted { source: SourceNumber(0) }
         71.044 keep desired [01, 00, 00, 00, 01, 02, 00, 00, 00, 00, 00, 01, 00, 02, 00, 00, 00, 75, 30]
         80.020 event StorageRecovered
         81.044 keep desired [01, 00, 00, 00, 01, 02, 00, 00, 00, 00, 00, 01, 00, 02, 00, 00, 00, 75, 30]
         81.044 event Settings { generation: ConfigGeneration(1), state: Trial, refused: 0 }
         81.044 send 1 batches, 0 layouts
         81.044 report 1 Trial
         81.064 event Settings { generation: ConfigGeneration(1), state: Applied, refused: 0 }
         81.064 keep desired [01, 00, 00, 00, 01, 01, 00, 00, 00, 00, 00, 01, 00, 02, 00, 00, 00, 75, 30]
         81.064 send 0 batches, 0 layouts
         81.064 report 1 Applied
         111.064 send 1 batches, 0 layouts",
    );
}

/// Settings that are applied, given up and replaced, with lost replies.
const LIFE: &str = "
    start
    run 10s
    want sampling_interval=2000 batch_rows=4
    run 70s
    server deaf
    want upload_interval=20000 sampling_interval@0=10000
    run 70s
    server well
    run 30s
    server leaves
    want upload_interval=50000 revert_after=60000
    run 150s
    server well
    run 60s
    want
    run 60s";

#[test]
fn a_power_cut_at_any_action_leaves_the_old_settings_or_the_new() {
    let mut rig = Rig::new(None);
    rig.run_script(LIFE);
    rig.check_delivered();
    rig.check_settled();
    let actions = rig.actions;
    assert!(rig.keeps > 6, "only {} slots kept", rig.keeps);
    for at_action in 1..=actions {
        for is_done in [false, true] {
            let mut rig = Rig::new(Some(PowerCut { at_action, is_done }));
            rig.run_script(LIFE);
            rig.run_script("server well\nrun 200s");
            rig.check_delivered();
            rig.check_settled();
        }
    }
    println!("{} power cuts", 2 * actions);
}
