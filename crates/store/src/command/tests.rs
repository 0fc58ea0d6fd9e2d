//! Numbering, delivery and results without a database.

use proptest::prelude::*;

use super::step::Step;
use super::*;
use crate::limits::{COMMAND_GRACE_MS, COMMAND_SENT_AHEAD_MS, COMMANDS_OUT_MAX};

const KEY: KeyGeneration = KeyGeneration(1);

/// 2026-11-28T00:00:00Z.
const NOW: UnixMs = UnixMs(1_795_824_000_000);

/// The number of the first command that is sent at [`NOW`].
const FIRST: u32 = 217_987_200;

fn at(seconds: i64) -> UnixMs {
    UnixMs(NOW.0 + seconds * 1000)
}

fn queued(number: i64, priority: u8) -> HeldCommand {
    HeldCommand {
        number: CommandNumber(number),
        order: CommandOrder { kind: 6, arguments: String::new(), source: None },
        priority,
        not_before: None,
        deadline: at(60),
        state: CommandState::Queued,
        wire: None,
        is_guess: false,
    }
}

fn commands(open: Vec<HeldCommand>) -> Commands {
    Commands { open, ..Commands::default() }
}

fn result(id: u32, state: CommandState) -> CommandResult {
    CommandResult { id: CommandId(id), state, at: None, outcome: CommandOutcome::default() }
}

fn message(seconds: i64, results: &[CommandResult]) -> Message<'_> {
    Message { at: at(seconds), under: KEY, out_max: COMMANDS_OUT_MAX, is_poll: false, results }
}

/// Takes a message, answering what is looked up with what was ended before.
fn take(held: &mut Commands, message: Message<'_>) -> Step {
    let step = match step(held, message) {
        Ok(step) => step,
        Err(unknown) => {
            held.named.extend(unknown.into_iter().map(|id| (id, None)));
            super::step::step(held, message).unwrap()
        }
    };
    *held = step.commands.clone();
    step
}

fn sent(step: &Step) -> Vec<u32> {
    step.sent.iter().map(|sent| sent.id.0).collect()
}

fn moves(step: &Step) -> Vec<(i64, CommandState)> {
    step.moved.iter().map(|moved| (moved.number.0, moved.state)).collect()
}

#[test]
fn urgent_commands_are_sent_first_and_no_more_than_a_device_keeps() {
    let mut held = commands((1..=6).map(|number| queued(number, u8::from(number == 6))).collect());
    let step = take(&mut held, message(0, &[]));
    let numbers: Vec<_> = moves(&step).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [6, 1, 2, 3]);
    assert_eq!(sent(&step), [FIRST, FIRST + 1, FIRST + 2, FIRST + 3]);
    assert_eq!(held.last, CommandId(FIRST + 3));
    // Sent again until it is reported on; nothing else changes.
    let step = take(&mut held, message(1, &[]));
    assert_eq!((sent(&step).len(), step.moved), (COMMANDS_OUT_MAX, vec![]));
    assert_eq!(on_the_way(&held, at(1)), step.sent);
    // An accepted one keeps its place and is not sent again; an ended one frees it.
    let results = [result(FIRST, CommandState::Accepted), result(FIRST + 1, CommandState::Failed)];
    let step = take(&mut held, message(2, &results));
    assert_eq!(sent(&step), [FIRST + 2, FIRST + 3, FIRST + 4]);
    let expected =
        [(6, CommandState::Accepted), (1, CommandState::Failed), (4, CommandState::Sent)];
    assert_eq!(moves(&step), expected);
}

#[test]
fn numbers_are_above_the_last_and_the_time() {
    let number = |last, seconds| {
        let mut held = Commands { last: CommandId(last), ..commands(vec![queued(1, 0)]) };
        held.open[0].deadline = at(1_000_000_000_000);
        sent(&take(&mut held, message(seconds, &[])))
    };
    assert_eq!(number(0, 0), [FIRST]);
    assert_eq!(number(FIRST, 0), [FIRST + 1]);
    assert_eq!(number(FIRST + 9, -3_000_000_000), [FIRST + 10], "the clock went back");
    assert_eq!(number(0, 5_000_000_000), [u32::MAX]);
    assert_eq!(number(u32::MAX, 0), [] as [u32; 0], "no number is left");
}

#[test]
fn waiting_commands_do_not_keep_others_back_and_are_not_sent_early() {
    let waiting = |number, seconds| {
        let not_before = Some(at(seconds));
        HeldCommand { not_before, deadline: at(seconds + 60), ..queued(number, 9) }
    };
    let ahead = COMMAND_SENT_AHEAD_MS / 1000;
    let open = vec![
        waiting(1, ahead + 1),
        waiting(2, ahead),
        waiting(3, 10),
        waiting(4, 10),
        queued(5, 0),
        queued(6, 0),
    ];
    let mut held = commands(open);
    let numbers = |step: &Step| moves(step).iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!(numbers(&take(&mut held, message(0, &[]))), [2, 3, 5, 6]);
}

#[test]
fn states_move_forward_only() {
    use CommandState::{Accepted, Expired, Failed, Succeeded, Unknown};
    for (reports, expected) in [
        (vec![Accepted, Accepted, Succeeded], vec![Accepted, Succeeded]),
        (vec![Succeeded, Accepted], vec![Succeeded]),
        (vec![Succeeded, Failed, Unknown], vec![Succeeded]),
        (vec![Unknown, Succeeded], vec![Unknown]),
        (vec![Accepted, Unknown, Accepted], vec![Accepted, Unknown]),
        (vec![Expired, Succeeded], vec![Expired]),
    ] {
        let mut held = commands(vec![queued(1, 0)]);
        take(&mut held, message(0, &[]));
        let mut states = Vec::new();
        for state in &reports {
            let step = take(&mut held, message(1, &[result(FIRST, *state)]));
            states.extend(moves(&step).into_iter().map(|(_, state)| state));
        }
        assert_eq!(states, expected, "{reports:?}");
        // All in one message.
        let mut held = commands(vec![queued(1, 0)]);
        take(&mut held, message(0, &[]));
        let results: Vec<_> = reports.iter().map(|state| result(FIRST, *state)).collect();
        let step = take(&mut held, message(1, &results));
        let states: Vec<_> = moves(&step).into_iter().map(|(_, state)| state).collect();
        assert_eq!(states, expected, "{reports:?}");
    }
}

#[test]
fn results_for_other_numbers_are_counted_and_change_nothing() {
    let mut held = commands(vec![queued(1, 0)]);
    take(&mut held, message(0, &[]));
    let results = [FIRST - 1, 0, u32::MAX].map(|id| result(id, CommandState::Succeeded));
    assert_eq!(step(&held, message(1, &results)).unwrap_err().len(), 3, "are looked up");
    let step = take(&mut held, message(1, &results));
    assert_eq!((step.ignored, step.moved), (3, vec![]));
    assert_eq!(held.open.len(), 1);
}

#[test]
fn device_corrects_what_the_server_concluded() {
    let grace = COMMAND_GRACE_MS / 1000;
    let mut held = commands(vec![queued(1, 0), queued(2, 0), queued(3, 0)]);
    held.open[1].deadline = at(0);
    let step = take(&mut held, message(0, &[]));
    assert!(moves(&step).contains(&(2, CommandState::Expired)), "never sent");
    let step = take(&mut held, message(60, &[]));
    assert_eq!((sent(&step), step.moved.len()), (vec![], 0), "it may have begun it");
    let step = take(&mut held, message(60 + grace, &[result(FIRST, CommandState::Accepted)]));
    // Accepted is no end, and the time for it is over as well.
    let expected =
        [(1, CommandState::Accepted), (1, CommandState::Unknown), (3, CommandState::Unknown)];
    assert_eq!(moves(&step), expected);
    let late = [result(FIRST, CommandState::Accepted), result(FIRST, CommandState::Succeeded)];
    let step = take(&mut held, message(70 + grace, &late));
    assert_eq!(moves(&step), [(1, CommandState::Succeeded)]);
    let step = take(&mut held, message(80 + grace, &[result(FIRST, CommandState::Failed)]));
    assert_eq!(step.moved, vec![], "its own word stands");
}

#[test]
fn command_past_its_deadline_keeps_no_other_back() {
    let mut held = commands((1..=8).map(|number| queued(number, 0)).collect());
    held.open[4..].iter_mut().for_each(|later| later.deadline = at(600));
    assert_eq!(sent(&take(&mut held, message(0, &[]))).len(), 4);
    let step = take(&mut held, message(60, &[]));
    let numbers: Vec<_> = moves(&step).iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [5, 6, 7, 8]);
}

#[test]
fn new_key_ends_what_was_sent_under_the_old_one() {
    let mut held = commands((1..=5).map(|number| queued(number, 0)).collect());
    take(&mut held, message(0, &[]));
    let results = [result(FIRST, CommandState::Succeeded)];
    let under = KeyGeneration(2);
    let step = take(&mut held, Message { under, ..message(1, &results) });
    let mut expected = vec![(1, CommandState::Succeeded)];
    expected.extend((2..=4).map(|number| (number, CommandState::Unknown)));
    expected.push((5, CommandState::Sent));
    assert_eq!(moves(&step), expected, "what is queued goes to the new key");
    let step = take(&mut held, Message { under, ..message(2, &[]) });
    assert_eq!(step.moved, vec![]);
}

#[test]
fn repeated_request_is_told_from_another() {
    let new = NewCommand {
        device: DeviceNumber(1),
        order: CommandOrder { kind: 5, arguments: "watts=1".into(), source: None },
        priority: 5,
        not_before: None,
        deadline: at(60),
        key: Some("k".into()),
    };
    let later = NewCommand { deadline: at(63), ..new.clone() };
    assert!(new.is_repeated_in(at(0), &later, at(3)));
    assert!(!new.is_repeated_in(at(0), &later, at(4)), "another deadline");
    let other = CommandOrder { arguments: "watts=2".into(), ..new.order.clone() };
    assert!(!new.is_repeated_in(at(0), &NewCommand { order: other, ..later.clone() }, at(3)));
    let timed = NewCommand { not_before: Some(at(10)), deadline: at(70), ..new.clone() };
    assert!(timed.is_repeated_in(at(0), &timed, at(5)));
    assert!(!new.is_repeated_in(at(0), &timed, at(5)));
}

#[test]
fn id_has_exactly_one_spelling() {
    assert_eq!("cmd-42".parse(), Ok(CommandNumber(42)));
    assert_eq!(CommandNumber(42).to_string(), "cmd-42");
    for bad in ["42", "cmd-", "cmd-042", "cmd-+1", "cmd--1", "cmd-9223372036854775808", "CMD-1"] {
        assert_eq!(bad.parse::<CommandNumber>(), Err(ParseCommandNumberError), "{bad}");
    }
}

/// What happens to a device's commands, by small numbers.
type Happening = (u8, u8, u8);

proptest! {
    /// Whatever a device reports, in whatever order, and whatever the clock does.
    #[test]
    fn no_number_is_used_twice_and_no_end_is_taken_back(
        happenings in prop::collection::vec((0..6u8, any::<u8>(), any::<u8>()), 1..80),
    ) {
        let mut held = Commands::default();
        let (mut made, mut clock) = (0, 0i64);
        let mut numbers: Vec<CommandId> = Vec::new();
        let mut ends: std::collections::HashMap<CommandNumber, (CommandState, bool)> = Default::default();
        for (what, a, b) in happenings as Vec<Happening> {
            if what == 0 && held.open.len() < 9 {
                made += 1;
                let deadline = at(clock + i64::from(b));
                held.open.push(HeldCommand { deadline, ..queued(made, a % 3) });
                continue;
            }
            clock += i64::from(b) * i64::from(a % 4) * 20 - 60;
            let reported = CommandState::ALL[usize::from(2 + a % 6)];
            let id = numbers.get(usize::from(b) % numbers.len().max(1)).map_or(7, |id| id.0);
            let results = [result(id, reported), result(id, CommandState::Accepted)];
            let results = if what == 1 && reported != CommandState::Cancelled { &results[..] } else { &[] };
            let under = KeyGeneration(1 + u16::from(what == 5 && a > 250));
            let step = take(&mut held, Message { under, ..message(clock, results) });
            for moved in &step.moved {
                if let Some(wire) = moved.wire {
                    prop_assert!(numbers.iter().all(|id| *id < wire.id), "{wire:?} {numbers:?}");
                    numbers.push(wire.id);
                }
                let end = ends.get(&moved.number);
                prop_assert!(end.is_none_or(|(_, is_guess)| *is_guess && moved.reported.is_some()));
                if !moved.state.is_open() {
                    ends.insert(moved.number, (moved.state, moved.is_guess));
                }
            }
            let out = held.open.iter().filter(|c| c.state != CommandState::Queued && c.deadline > at(clock));
            prop_assert!(out.count() <= COMMANDS_OUT_MAX);
            prop_assert!(step.sent.iter().all(|sent| sent.deadline > at(clock)));
        }
    }
}
