//! Power cuts at every action of an eventful life.

use crate::rig::{PowerCut, Rig};

const LIFE: &str = "
    system unset
    start
    run 40s
    server deaf
    run 90s
    inverter dusk
    run 10s
    inverter quiet
    run 60s
    inverter well
    server away
    run 120s
    server well
    run 150s";

const AFTERWARDS: &str = "
    server well
    inverter well
    run 200s";

#[test]
fn a_power_cut_at_any_action_loses_and_doubles_nothing() {
    let mut rig = Rig::new(None);
    rig.run_script(LIFE);
    rig.run_script(AFTERWARDS);
    rig.check_delivered();
    let actions = rig.actions;
    assert!(actions > 150, "{actions} actions");
    assert!(rig.keeps > 1, "only {} slots kept", rig.keeps);
    for at_action in 1..=actions {
        for is_done in [false, true] {
            let mut rig = Rig::new(Some(PowerCut { at_action, is_done }));
            rig.run_script(LIFE);
            rig.run_script(AFTERWARDS);
            rig.check_delivered();
        }
    }
    println!("{} power cuts", 2 * actions);
}

#[test]
fn cuts_in_quick_succession_are_survived() {
    let mut rig = Rig::new(None);
    for pause in [1, 3, 7, 20, 2, 66, 5, 5, 130] {
        rig.run_script(&format!("start\nrun {pause}s\npower cut"));
    }
    rig.run_script("start\nrun 200s");
    rig.check_delivered();
}
