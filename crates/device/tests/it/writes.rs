//! Writes to an inverter: once, within bounds, and read back.

use crate::rig::{PowerCut, Rig, check};

#[test]
fn a_register_is_read_written_and_read_back() {
    check(
        "start
         run 60500ms
         show read write result
         order limit 500 @0
         run 2s
         show write result
         order set 50 @0
         order watts 2499 @0
         run 60s
         order poke 21 70 @0
         run 60s",
        "61.044 result 1 Accepted at 61044
         61.064 read 21+1 ok
         61.084 write 21 = 50 Confirmed
         61.104 read 21+1 ok
         61.124 result 1 Succeeded at 61124 [00, 32]
         121.044 result 2 Accepted at 121044
         121.044 result 3 Accepted at 121044
         121.084 result 2 Succeeded at 121084 [00, 32]
         121.124 write 21 = 45 Confirmed
         121.164 result 3 Succeeded at 121164 [00, 2d]
         181.044 result 4 Accepted at 181044
         181.084 write 21 = 70 Confirmed
         181.124 result 4 Succeeded at 181124 [00, 46]",
    );
}

#[test]
fn what_the_profile_does_not_allow_is_not_written() {
    check(
        "start
         run 50s
         show write result
         order set 9 @0
         order set 101 @0
         order set 52 @0
         order limit 505 @0
         run 70s
         order watts 400 @0
         order set 50 @3
         run 62s",
        "61.044 result 1 Failed OutOfBounds 0 at 61044
         61.044 result 2 Failed OutOfBounds 0 at 61044
         61.044 result 3 Failed NotAllowed 0 at 61044
         61.044 result 4 Failed NotAllowed 0 at 61044
         121.044 result 5 Failed OutOfBounds 0 at 121044
         121.044 result 6 Failed NoSource 0 at 121044",
    );
}

#[test]
fn what_is_read_back_decides() {
    check(
        "start
         run 50s
         show write result
         writes lost
         order poke 21 20 @0
         run 60s
         writes unheard
         order poke 21 30 @0
         run 60s
         writes ignored
         order poke 21 40 @0
         run 60s
         writes refused 2
         order poke 21 50 @0
         run 60s
         writes refused 11
         order poke 21 60 @0
         run 60s
         writes unsent
         order poke 21 70 @0
         run 60s",
        "61.044 result 1 Accepted at 61044
         61.084 write 21 = 20 NoAnswer
         62.104 result 1 Succeeded at 62104 [00, 14]
         121.044 result 2 Accepted at 121044
         121.084 write 21 = 30 NoAnswer
         125.164 result 2 Failed NoAnswer 0 at 125164 [00, 14]
         181.044 result 3 Accepted at 181044
         181.084 write 21 = 40 Confirmed
         184.184 result 3 Failed ReadBack 0 at 184184 [00, 14]
         241.044 result 4 Accepted at 241044
         241.084 write 21 = 50 Exception(IllegalDataAddress)
         241.104 result 4 Failed Exception 2 at 241104
         301.044 result 5 Accepted at 301044
         301.084 write 21 = 60 Exception(GatewayTargetFailedToRespond)
         304.184 result 5 Failed NoAnswer 0 at 304184 [00, 14]
         361.044 result 6 Accepted at 361044
         361.084 write 21 = 70 NotSent
         361.104 result 6 Failed NoAnswer 0 at 361104",
    );
}

#[test]
fn a_device_that_its_owner_locked_writes_nothing() {
    check(
        "owner locks
         start
         run 50s
         show write result
         order limit 500 @0
         order poke 21 50 @0
         order set 50 @0
         order read 21 1 @0
         run 60s",
        "61.044 result 1 Failed Locked 0 at 61044
         61.044 result 2 Failed Locked 0 at 61044
         61.044 result 3 Failed Locked 0 at 61044
         61.044 result 4 Accepted at 61044
         61.084 result 4 Succeeded at 61084 [03, fd]",
    );
}

const LIFE: &str = "
    want upload_interval=30000
    start
    run 20s
    order poke 21 1 @0
    order poke 22 2 @0 after=5
    run 40s
    writes lost
    order poke 21 3 @0
    order read 21 1 @0
    run 40s
    server deaf
    order poke 23 4 @0 by=300
    run 40s
    server well
    run 60s";

#[test]
fn a_power_cut_at_any_action_repeats_no_write() {
    let mut rig = Rig::new(None);
    rig.run_script(LIFE);
    rig.run_script("run 200s");
    rig.check_ended();
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
