//! Which reads are sent when, and the samples that result.

use ecowatt_wire::SourceState;

use crate::rig::{Rig, check};

#[test]
fn groups_are_read_on_the_grid_of_the_wall_clock() {
    check(
        "system 1300
         show read sample
         start
         run 11s",
        "0.020 read 0+8 ok
         0.040 read 20+2 ok
         0.060 sample 1300 rrrrrrrrrr
         3.700 read 0+8 ok
         3.720 sample 5000 rrrrrrrr--
         8.700 read 0+8 ok
         8.720 sample 10000 rrrrrrrr--",
    );
}

#[test]
fn a_dead_inverter_costs_one_timeout_a_cycle_at_growing_intervals() {
    check(
        "show read sample event
         start
         run 6s
         inverter quiet
         run 60s
         inverter well
         run 25s",
        "0.020 read 0+8 ok
         0.040 read 20+2 ok
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.060 sample 0 rrrrrrrrrr
         5.000 read 0+8 ok
         5.020 sample 5000 rrrrrrrr--
         10.000 read 0+8 timeout 1s
         11.000 sample 10000 tttttttt--
         15.000 read 0+8 timeout 1s
         16.000 sample 15000 tttttttt--
         20.000 read 0+8 timeout 1s
         21.000 event Source { source: SourceNumber(0), from: Online, to: Offline }
         21.000 sample 20000 tttttttt--
         30.000 read 0+8 timeout 1s
         31.000 sample 30000 tttttttt--
         40.000 read 0+8 timeout 1s
         41.000 sample 40000 tttttttt--
         50.000 read 0+4 timeout 1s
         51.000 sample 50000 tttttttt--
         65.000 read 20+2 timeout 1s
         66.000 sample 65000 tttttttttt
         80.000 read 0+8 ok
         80.020 read 20+2 ok
         80.040 event Source { source: SourceNumber(0), from: Offline, to: Online }
         80.040 sample 80000 rrrrrrrrrr
         85.000 read 0+8 ok
         85.020 sample 85000 rrrrrrrr--
         90.000 read 0+8 ok
         90.020 sample 90000 rrrrrrrr--",
    );
}

#[test]
fn a_sleeping_inverter_is_polled_once_a_minute() {
    check(
        "show read sample event
         inverter dusk
         start
         run 6s
         inverter quiet
         run 140s
         inverter well
         run 60s",
        "0.020 read 0+8 ok
         0.040 read 20+2 ok
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Asleep }
         0.060 sample 0 rrrrrrrrrr
         5.000 read 0+8 ok
         5.020 sample 5000 rrrrrrrr--
         10.000 read 0+8 timeout 1s
         11.000 sample 10000 tttttttt--
         15.000 read 0+8 timeout 1s
         16.000 sample 15000 tttttttt--
         20.000 read 0+8 timeout 1s
         21.000 sample 20000 zzzzzzzzzz
         80.000 read 20+2 timeout 1s
         81.000 sample 80000 zzzzzzzzzz
         140.000 read 0+8 timeout 1s
         141.000 sample 140000 zzzzzzzzzz
         200.000 read 20+2 ok
         200.020 read 0+8 ok
         200.040 event Source { source: SourceNumber(0), from: Asleep, to: Online }
         200.040 sample 200000 rrrrrrrrrr
         205.000 read 0+8 ok
         205.020 sample 205000 rrrrrrrr--",
    );
}

#[test]
fn a_gateway_that_does_not_reach_its_inverter_is_silence() {
    // Exceptions 0x0A and 0x0B come from the gateway.
    for code in [10, 11] {
        for (before, expected) in [("dusk", SourceState::Asleep), ("well", SourceState::Offline)] {
            let mut rig = Rig::new(None);
            rig.run_script(&format!(
                "inverter {before}\nstart\nrun 6s\ninverter exception {code}\nrun 60s"
            ));
            assert_eq!(rig.state(), expected, "{code} after {before}");
        }
    }
}

#[test]
fn an_inverter_that_refuses_everything_is_faulty() {
    check(
        "show read event
         start
         run 1s
         inverter exception 4
         run 40s
         inverter well
         run 10s",
        "0.020 read 0+8 ok
         0.040 read 20+2 ok
         0.060 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         5.000 read 0+8 exception 4
         10.000 read 0+8 exception 4
         15.000 read 0+8 exception 4
         15.020 event Source { source: SourceNumber(0), from: Online, to: Faulty }
         25.000 read 0+8 exception 4
         35.000 read 0+8 exception 4
         45.000 read 0+8 ok
         45.020 event Source { source: SourceNumber(0), from: Faulty, to: Online }
         50.000 read 0+8 ok",
    );
}

#[test]
fn a_bad_register_is_found_quarantined_and_retried() {
    check(
        "show read sample event
         inverter bad 5
         start
         run 6s
         show event
         run 598s
         show read sample
         run 2s
         inverter well
         show event
         run 1203s
         show read sample event
         run 9s",
        "0.020 read 0+8 exception 2
         0.040 read 0+4 ok
         0.060 read 4+4 exception 2
         0.080 read 4+2 exception 2
         0.100 read 4+1 ok
         0.120 read 5+1 exception 2
         0.140 read 6+2 ok
         0.160 read 20+2 ok
         0.180 event Quarantined { source: SourceNumber(0), table: Holding, address: 5, count: 1 }
         0.180 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         0.180 sample 0 rrrrrerrrr
         5.000 read 0+4 ok
         5.020 read 4+1 ok
         5.040 read 6+2 ok
         5.060 sample 5000 rrrrrqrr--
         605.000 read 0+4 ok
         605.020 read 4+1 ok
         605.040 read 5+1 exception 2
         605.060 read 6+2 ok
         605.080 sample 605000 rrrrrerr--
         1810.000 read 0+4 ok
         1810.020 read 4+1 ok
         1810.040 read 5+1 ok
         1810.060 event Released { source: SourceNumber(0), table: Holding, address: 5, count: 1 }
         1810.060 read 6+2 ok
         1810.080 sample 1810000 rrrrrrrr--
         1815.000 read 0+8 ok
         1815.020 sample 1815000 rrrrrrrr--",
    );
}

#[test]
fn refusing_everything_quarantines_nothing() {
    check(
        "show event
         inverter exception 2
         start
         run 30s
         inverter well
         show event sample
         run 30s",
        "10.360 event Source { source: SourceNumber(0), from: Unknown, to: Faulty }
         30.040 event Source { source: SourceNumber(0), from: Faulty, to: Online }
         30.040 sample 30000 rrrrrrrrrr
         35.020 sample 35000 rrrrrrrr--
         40.020 sample 40000 rrrrrrrr--
         45.020 sample 45000 rrrrrrrr--
         50.020 sample 50000 rrrrrrrr--
         55.020 sample 55000 rrrrrrrr--",
    );
}

#[test]
fn a_garbled_read_is_repeated_once() {
    check(
        "show read sample event
         inverter garbled
         start
         run 1s
         inverter well
         run 5s",
        "0.020 read 0+8 garbled
         0.040 read 0+8 garbled
         0.060 sample 0 gggggggggg
         5.000 read 20+2 ok
         5.020 read 0+8 ok
         5.040 event Source { source: SourceNumber(0), from: Unknown, to: Online }
         5.040 sample 5000 rrrrrrrrrr",
    );
}

#[test]
fn a_sample_has_the_instant_of_its_first_words() {
    check(
        "start
         run 4s
         show read sample
         inverter noise 17
         run 27s",
        "5.000 read 0+8 garbled
         22.020 read 0+8 ok
         22.040 sample 22020 rrrrrrrr--
         25.000 read 0+8 ok
         25.020 sample 25000 rrrrrrrr--
         30.000 read 0+8 ok
         30.020 sample 30000 rrrrrrrr--",
    );
}

#[test]
fn a_broken_link_is_marked_as_such() {
    check(
        "show sample event
         inverter gone
         start
         run 20s",
        "0.040 sample 0 uuuuuuuuuu
         5.020 sample 5000 uuuuuuuuuu
         10.020 event Source { source: SourceNumber(0), from: Unknown, to: Offline }
         10.020 sample 10000 uuuuuuuuuu",
    );
}

#[test]
fn a_start_without_a_clock_leaves_the_kept_sleep_alone() {
    let mut rig = Rig::new(None);
    rig.run_script(
        "inverter dusk
         start
         run 60s
         inverter quiet
         run 60s
         power cut
         server away
         system unset
         start
         run 600s
         power cut
         system 0
         start
         run 71000s",
    );
    assert_eq!((rig.state(), rig.keeps), (SourceState::Asleep, 1));
    // Less than 20 h since this start, and more since dusk.
    rig.run_script("run 700s");
    assert_eq!(rig.state(), SourceState::Offline);
}

#[test]
fn a_slot_that_could_not_be_written_is_retried_and_delays_nothing() {
    check(
        "show keep sample cut
         inverter dusk
         flash full
         start
         run 12s
         flash well
         run 12s",
        "0.040 keep sleep [01, 00, 00, 00, 01, 9b, 79, 6d, d6, 28]
         0.040 sample 0 since boot rrrrrrrrrr
         5.020 sample 5000 since boot rrrrrrrr--
         10.020 sample 10000 since boot rrrrrrrr--
         10.040 keep sleep [01, 00, 00, 00, 01, 9b, 79, 6d, d6, 28]
         15.020 sample 15000 since boot rrrrrrrr--
         20.020 cut 1/1 of 4 rows
         20.040 keep sleep [01, 00, 00, 00, 01, 9b, 79, 6d, d6, 28]
         20.060 sample 20000 rrrrrrrr--
         20.984 cut 1/2 of 1 rows",
    );
}
