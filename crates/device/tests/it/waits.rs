//! Waiting for commands: check-ins whose replies the server may hold.

use crate::rig::{PowerCut, Rig, check};

#[test]
fn a_device_waits_between_uploads_and_never_beyond_one() {
    check(
        "server waits
         want command_wait=20000 sampling_interval=15000
         start
         run 10s
         show send wait result
         run 112s",
        "21.084 send 0 batches, 0 layouts
         21.084 wait up to 20s
         41.104 send 0 batches, 0 layouts
         41.104 wait up to 19.96s
         61.084 send 1 batches, 0 layouts
         61.104 send 0 batches, 0 layouts
         61.104 wait up to 20s
         81.124 send 0 batches, 0 layouts
         81.124 wait up to 20s
         101.144 send 0 batches, 0 layouts
         101.144 wait up to 19.94s
         121.104 send 1 batches, 0 layouts
         121.124 send 0 batches, 0 layouts
         121.124 wait up to 20s",
    );
}

#[test]
fn a_command_ends_a_wait_and_its_result_is_reported_before_the_next_one() {
    check(
        "server waits
         want command_wait=20000 sampling_interval=15000
         start
         run 30s
         show send wait result
         run 3s
         order upload
         run 5s",
        "33.020 send 1 batches, 0 layouts
         33.020 result 1 Succeeded at 33020
         33.040 send 0 batches, 0 layouts
         33.040 wait up to 20s",
    );
}

#[test]
fn a_server_that_does_not_hold_replies_is_asked_less_and_less_often() {
    check(
        "want command_wait=20000 sampling_interval=15000 upload_interval=300000
         start
         run 5s
         show wait
         run 100s",
        "7.060 wait up to 20s
         15.060 wait up to 20s
         31.060 wait up to 20s
         51.060 wait up to 20s
         71.060 wait up to 20s
         91.060 wait up to 20s",
    );
}

#[test]
fn a_device_that_saves_power_does_not_wait() {
    check(
        "want command_wait=20000 power_policy=2
         start
         run 5s
         show wait
         run 200s",
        "",
    );
}

#[test]
fn a_device_does_not_wait_while_the_server_is_away() {
    check(
        "server waits
         want command_wait=5000 sampling_interval=15000
         start
         run 15s
         server away
         show wait event
         run 30s
         server waits
         run 60s",
        "15.020 event LinkLost { failure: Unreachable, retry_in: 1.616s }
         52.856 event LinkRestored { failures: 5 }
         52.856 wait up to 5s
         57.876 wait up to 5s
         62.896 wait up to 5s
         67.916 wait up to 5s
         72.936 wait up to 5s
         77.956 wait up to 5s
         82.976 wait up to 5s
         87.996 wait up to 5s
         93.016 wait up to 5s
         98.036 wait up to 5s
         103.056 wait up to 5s",
    );
}

#[test]
fn a_wait_that_fails_is_soon_begun_again() {
    check(
        "server waits
         want command_wait=60000 upload_interval=900000 sampling_interval=300000
         start
         run 30s
         show wait send event
         server away
         run 10s
         server waits
         run 100s",
        "30.020 event LinkLost { failure: Unreachable, retry_in: 1.616s }
         31.636 send 0 batches, 0 layouts
         33.799 send 0 batches, 0 layouts
         40.052 send 0 batches, 0 layouts
         40.072 event LinkRestored { failures: 3 }
         40.072 send 0 batches, 0 layouts
         40.072 wait up to 60s
         100.092 send 0 batches, 0 layouts
         100.092 wait up to 60s",
    );
}

#[test]
fn news_of_the_device_end_a_wait() {
    check(
        "server waits
         want command_wait=60000 upload_interval=300000
         start
         run 30s
         show wait send event
         inverter gone
         run 40s",
        "40.020 event Source { source: SourceNumber(0), from: Online, to: Offline }
         40.020 wait given up
         40.020 send 0 batches, 0 layouts
         40.040 send 0 batches, 0 layouts
         40.040 wait up to 60s",
    );
}

const LIFE: &str = "server waits
     want command_wait=20000 upload_interval=40000
     start
     run 30s
     order upload
     order poke 22 7
     run 10s
     order restart
     run 30s
     want command_wait=5000
     run 10s
     order poke 23 8
     run 20s";

#[test]
fn a_power_cut_at_any_action_loses_no_sample_and_repeats_no_command() {
    let mut rig = Rig::new(None);
    rig.run_script(LIFE);
    let actions = rig.actions;
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
