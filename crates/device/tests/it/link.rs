//! Messages, acknowledgements and the clock.

use crate::rig::{Rig, check};

#[test]
fn the_first_reading_is_on_the_server_within_seconds() {
    check(
        "show sample cut send
         start
         run 8s",
        "0.000 send 0 batches, 1 layouts
         0.060 sample 0 rrrrrrrrrr
         0.060 cut 1/1 of 1 rows
         0.060 send 1 batches, 0 layouts
         5.020 sample 5000 rrrrrrrr--",
    );
}

#[test]
fn a_lost_reply_leads_to_the_same_batches_under_a_fresh_counter() {
    let mut rig = Rig::new(None);
    rig.run_script(
        "start
         run 10s
         server deaf
         run 300s
         server well
         run 300s",
    );
    rig.check_delivered();
}

#[test]
fn an_unreachable_server_is_retried_at_growing_intervals() {
    check(
        "show event send
         server away
         start
         run 200s
         server well
         run 200s",
        "0.000 send 0 batches, 1 layouts
         0.020 event LinkLost { failure: Unreachable, retry_in: 1.015s }
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         1.035 send 0 batches, 1 layouts
         4.287 send 0 batches, 1 layouts
         8.593 send 0 batches, 1 layouts
         21.080 send 0 batches, 1 layouts
         39.877 send 0 batches, 1 layouts
         76.609 send 0 batches, 1 layouts
         147.122 send 0 batches, 1 layouts
         334.906 send 0 batches, 1 layouts
         334.926 event LinkRestored { failures: 8 }
         334.926 send 9 batches, 0 layouts
         375.683 send 2 batches, 0 layouts",
    );
}

#[test]
fn pauses_that_the_server_asks_for_are_kept() {
    check(
        "show send event
         start
         run 10s
         server busy 120
         run 200s
         server pause 30
         run 200s",
        "0.000 send 0 batches, 1 layouts
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.060 send 1 batches, 0 layouts
         61.024 send 2 batches, 0 layouts
         61.044 event LinkLost { failure: Busy { retry_after: Some(120s) }, retry_in: 122.148s }
         183.192 send 5 batches, 0 layouts
         308.419 send 8 batches, 0 layouts
         308.439 event LinkRestored { failures: 2 }
         338.439 send 1 batches, 0 layouts
         368.459 send 1 batches, 0 layouts
         398.479 send 1 batches, 0 layouts",
    );
}

#[test]
fn a_wait_that_is_asked_for_is_15_minutes_at_most() {
    // Four fifths of it, and up to a fifth to spread the fleet.
    check(
        "show send event
         start
         run 10s
         server busy 86400
         run 1000s",
        "0.000 send 0 batches, 1 layouts
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.060 send 1 batches, 0 layouts
         61.024 send 2 batches, 0 layouts
         61.044 event LinkLost { failure: Busy { retry_after: Some(86400s) }, retry_in: 732.891s }
         793.935 send 20 batches, 0 layouts",
    );
}

#[test]
fn a_refusal_for_whatever_reason_frees_the_batch() {
    check(
        "show cut send event
         start
         run 10s
         server refuses 77
         run 60s
         server well
         run 60s",
        "0.000 send 0 batches, 1 layouts
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.060 cut 1/1 of 1 rows
         0.060 send 1 batches, 0 layouts
         40.020 cut 1/2 of 8 rows
         61.024 cut 1/3 of 4 rows
         61.024 send 2 batches, 0 layouts
         61.044 event BatchRefused { id: BatchId { epoch: BootEpoch(1), sequence: Sequence(2) }, reason: Other(77) }
         61.044 event BatchRefused { id: BatchId { epoch: BootEpoch(1), sequence: Sequence(3) }, reason: Other(77) }
         100.020 cut 1/4 of 8 rows
         121.024 cut 1/5 of 4 rows
         121.024 send 2 batches, 0 layouts",
    );
}

#[test]
fn a_layout_that_the_server_lacks_is_announced_again() {
    check(
        "show send
         start
         run 100s
         server forgetful
         run 60s
         server well
         run 130s",
        "0.000 send 0 batches, 1 layouts
         0.060 send 1 batches, 0 layouts
         61.024 send 2 batches, 0 layouts
         121.024 send 2 batches, 0 layouts
         121.044 send 2 batches, 1 layouts
         181.044 send 2 batches, 0 layouts
         241.044 send 2 batches, 0 layouts",
    );
}

#[test]
fn a_layout_that_is_never_taken_is_not_sent_for_ever() {
    let mut rig = Rig::new(None);
    rig.run_script(
        "start
         run 70s
         server stubborn
         run 600s",
    );
    assert!(rig.messages < 30, "{} messages", rig.messages);
    rig.run_script("server well\nrun 200s");
    rig.check_delivered();
}

#[test]
fn a_layout_that_does_not_exist_is_not_looked_for_again_and_again() {
    let mut rig = Rig::new(None);
    rig.run_script(
        "start
         run 70s
         server strange
         run 600s",
    );
    assert!(rig.messages < 30, "{} messages", rig.messages);
    // What it asked for takes no room from a layout that exists.
    rig.run_script("server forgetful\nrun 200s\nserver well\nrun 200s");
    rig.check_delivered();
}

#[test]
fn samples_before_the_clock_was_set_stay_apart() {
    check(
        "show sample cut send event
         system unset
         server away
         start
         run 12s
         server well
         run 30s",
        "0.000 send 0 batches, 1 layouts
         0.020 event LinkLost { failure: Unreachable, retry_in: 1.015s }
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.060 sample 0 since boot rrrrrrrrrr
         1.035 send 0 batches, 1 layouts
         4.287 send 0 batches, 1 layouts
         5.020 sample 5000 since boot rrrrrrrr--
         8.593 send 0 batches, 1 layouts
         10.020 sample 10000 since boot rrrrrrrr--
         15.020 sample 15000 since boot rrrrrrrr--
         20.020 sample 20000 since boot rrrrrrrr--
         21.080 send 0 batches, 1 layouts
         21.100 event LinkRestored { failures: 4 }
         21.100 event ClockSet
         21.100 cut 1/1 of 5 rows
         21.100 send 1 batches, 0 layouts
         25.050 sample 25000 rrrrrrrrrr
         30.030 sample 30000 rrrrrrrr--
         31.534 cut 1/2 of 2 rows
         31.534 send 1 batches, 0 layouts
         35.030 sample 35000 rrrrrrrr--
         40.030 sample 40000 rrrrrrrr--",
    );
}

#[test]
fn samples_before_the_clock_was_confirmed_count_from_the_start() {
    check(
        "show sample cut event
         system 60000
         server away
         start
         run 12s
         server well
         run 20s",
        "0.020 event LinkLost { failure: Unreachable, retry_in: 1.015s }
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.060 sample 0 since boot rrrrrrrrrr
         5.020 sample 5000 since boot rrrrrrrr--
         10.020 sample 10000 since boot rrrrrrrr--
         15.020 sample 15000 since boot rrrrrrrr--
         20.020 sample 20000 since boot rrrrrrrr--
         21.100 event LinkRestored { failures: 4 }
         21.100 event ClockStepped { by_ms: -60010 }
         21.100 cut 1/1 of 5 rows
         25.050 sample 25000 rrrrrrrrrr
         30.030 sample 30000 rrrrrrrr--
         31.534 cut 1/2 of 2 rows",
    );
}

#[test]
fn samples_that_join_others_after_a_step_are_where_the_clock_has_them() {
    // The server was an hour ahead when it was first heard, and the epoch was placed by that; all that
    // is taken before the flash works goes into one batch.
    check(
        "show sample cut
         server away
         start
         run 1s
         flash full
         server well
         time 3600000
         run 9s
         time 0
         inverter gone
         run 20s
         inverter well
         run 20s
         flash well
         run 10s",
        "0.060 sample 0 since boot rrrrrrrrrr
         5.050 sample 5010 since boot rrrrrrrrrr
         10.030 sample 10010 since boot uuuuuuuu--
         15.030 sample 15010 since boot uuuuuuuu--
         20.030 sample 20010 since boot uuuuuuuu--
         30.050 sample -3569990 since boot rrrrrrrrrr
         35.030 sample -3564990 since boot rrrrrrrr--
         40.030 sample -3559990 since boot rrrrrrrr--
         45.030 sample -3554990 since boot rrrrrrrr--
         50.030 sample -3549990 since boot rrrrrrrr--
         51.055 cut 1/1 of 8 rows
         51.055 cut 1/2 of 2 rows
         55.030 sample 55000 rrrrrrrr--",
    );
}

#[test]
fn a_full_flash_loses_the_oldest_samples_only_and_recovers() {
    check(
        "show event cut
         start
         run 10s
         flash full
         run 120s
         flash well
         run 70s",
        "0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.060 cut 1/1 of 1 rows
         10.020 event SampleNotDrafted { source: SourceNumber(0) }
         15.020 event SampleNotDrafted { source: SourceNumber(0) }
         20.020 event SampleNotDrafted { source: SourceNumber(0) }
         25.020 event SampleNotDrafted { source: SourceNumber(0) }
         30.020 event SampleNotDrafted { source: SourceNumber(0) }
         35.020 event SampleNotDrafted { source: SourceNumber(0) }
         40.020 event SampleNotDrafted { source: SourceNumber(0) }
         40.020 event BatchNotPersisted { source: SourceNumber(0) }
         45.020 event SampleNotDrafted { source: SourceNumber(0) }
         50.020 event SampleNotDrafted { source: SourceNumber(0) }
         55.020 event SampleNotDrafted { source: SourceNumber(0) }
         60.040 event SampleNotDrafted { source: SourceNumber(0) }
         65.020 event SampleNotDrafted { source: SourceNumber(0) }
         70.020 event SampleNotDrafted { source: SourceNumber(0) }
         75.020 event SampleNotDrafted { source: SourceNumber(0) }
         80.020 event SampleNotDrafted { source: SourceNumber(0) }
         85.020 event SampleDropped { source: SourceNumber(0) }
         85.020 event SampleNotDrafted { source: SourceNumber(0) }
         90.020 event SampleDropped { source: SourceNumber(0) }
         90.020 event SampleNotDrafted { source: SourceNumber(0) }
         95.020 event SampleDropped { source: SourceNumber(0) }
         95.020 event SampleNotDrafted { source: SourceNumber(0) }
         100.020 event SampleDropped { source: SourceNumber(0) }
         100.020 event SampleNotDrafted { source: SourceNumber(0) }
         105.020 event SampleDropped { source: SourceNumber(0) }
         105.020 event SampleNotDrafted { source: SourceNumber(0) }
         110.020 event SampleDropped { source: SourceNumber(0) }
         110.020 event SampleNotDrafted { source: SourceNumber(0) }
         115.020 event SampleDropped { source: SourceNumber(0) }
         115.020 event SampleNotDrafted { source: SourceNumber(0) }
         120.040 event SampleDropped { source: SourceNumber(0) }
         120.040 event SampleNotDrafted { source: SourceNumber(0) }
         125.020 event SampleDropped { source: SourceNumber(0) }
         125.020 event SampleNotDrafted { source: SourceNumber(0) }
         130.020 event SampleDropped { source: SourceNumber(0) }
         130.020 cut 1/2 of 8 rows
         130.020 event StorageRecovered
         130.020 cut 1/3 of 8 rows
         170.020 cut 1/4 of 8 rows
         191.024 cut 1/5 of 4 rows",
    );
}

#[test]
fn a_pause_holds_in_the_fast_lane_and_a_pause_of_zero_is_raised() {
    // The first reply asks for a pause; the first sample is taken right after it.
    let mut rig = Rig::new(None);
    rig.run_script("server pause 30\nstart\nrun 29s");
    assert_eq!(rig.messages, 1);
    rig.run_script("run 2s");
    assert_eq!(rig.messages, 2);
    // A pause of zero must not make a device send without pause.
    let mut rig = Rig::new(None);
    rig.run_script("server pause 0\nstart\nrun 500s");
    assert!(rig.messages <= 101, "{} messages in 500 s", rig.messages);
}

#[test]
fn a_held_reply_sets_the_clock_right() {
    check(
        "show sample event
         system unset
         server holds 50
         start
         run 80s",
        "50.020 event ClockSet
         55.050 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         55.050 sample 55000 rrrrrrrrrr",
    );
    check(
        "show sample event
         system 27000
         server holds 50
         start
         run 80s",
        "50.020 event ClockStepped { by_ms: -27010 }
         55.050 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         55.050 sample 55000 rrrrrrrrrr",
    );
}
