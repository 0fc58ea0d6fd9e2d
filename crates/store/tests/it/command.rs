//! A command goes from the operator to the device once, and its result back.

use ecowatt_model::{BootEpoch, CommandId, DeviceNumber, KeyGeneration, UnixMs};
use ecowatt_store::limits::{COMMAND_GRACE_MS, ENDED_COMMANDS_KEPT, OPEN_COMMANDS_MAX};
use ecowatt_store::{
    CancelCommandError, Command, CommandFailure, CommandNumber, CommandOrder, CommandOutcome,
    CommandQuery, CommandResult, CommandState, CreateCommandError, NewCommand, Receipt, Store,
    Upload, UploadOutcome, back_up, restore,
};

use crate::fixture::{ARRIVAL, Fixture, by_at, upload};

/// A command made before the first message arrives, to be begun within an hour.
pub(crate) fn new_command(device: DeviceNumber) -> NewCommand {
    NewCommand {
        device,
        order: CommandOrder { kind: 5, arguments: "watts=3000".into(), source: None },
        priority: 5,
        not_before: None,
        deadline: UnixMs(ARRIVAL.0 + 3_600_000),
        key: None,
    }
}

async fn create(store: &Store, new: NewCommand) -> Command {
    let created = store.create_command(by_at(ARRIVAL), new).await.unwrap();
    assert!(created.is_new);
    created.command
}

fn reporting(device: DeviceNumber, counter: u64, results: &[(CommandId, CommandState)]) -> Upload {
    let mut message = upload(device, counter, Vec::new());
    message.reported.results = results
        .iter()
        .map(|(id, state)| CommandResult {
            id: *id,
            state: *state,
            at: Some(UnixMs(ARRIVAL.0 + 77)),
            outcome: CommandOutcome::default(),
        })
        .collect();
    message
}

async fn receipt(store: &Store, message: Upload) -> Receipt {
    match store.ingest(message).await.unwrap() {
        UploadOutcome::Stored(receipt) | UploadOutcome::Duplicate(receipt) => receipt,
        other => panic!("{other:?}"),
    }
}

async fn sent(store: &Store, message: Upload) -> Vec<CommandId> {
    receipt(store, message).await.commands.iter().map(|sent| sent.id).collect()
}

async fn find(store: &Store, number: CommandNumber) -> Command {
    store.find_command(number).await.unwrap().unwrap()
}

/// The states that a command had, and who made them.
async fn history(store: &Store, number: CommandNumber) -> Vec<(CommandState, String)> {
    let command = find(store, number).await;
    let history = store.list_transitions(&command).await.unwrap();
    history.into_iter().map(|step| (step.state, step.by.who)).collect()
}

fn reopened(fixture: Fixture) -> Fixture {
    let Fixture { store, points, dir } = fixture;
    drop(store);
    Fixture { store: Store::open(dir.path()).unwrap(), points, dir }
}

#[tokio::test]
async fn command_is_sent_until_it_is_reported_and_keeps_its_number() {
    let mut fixture = Fixture::new().await;
    let device = fixture.device();
    let plain = |counter| upload(device, counter, Vec::new());
    assert_eq!(receipt(&fixture.store, plain(1)).await.commands, []);
    let command = create(&fixture.store, new_command(device)).await;
    let first = receipt(&fixture.store, plain(2)).await;
    let [only] = &first.commands[..] else { panic!("{first:?}") };
    assert_eq!((&only.order, only.deadline), (&command.new.order, command.new.deadline));
    let moved = (first.moved[0].number, first.moved[0].state);
    assert_eq!(moved, (command.number, CommandState::Sent));
    let id = only.id;
    // The reply was lost; the server may have restarted meanwhile.
    assert_eq!(sent(&fixture.store, plain(2)).await, [id]);
    fixture = reopened(fixture);
    let store = &fixture.store;
    assert_eq!(sent(store, plain(2)).await, [id]);
    assert_eq!(sent(store, plain(3)).await, [id]);
    assert_eq!(sent(store, reporting(device, 4, &[(id, CommandState::Accepted)])).await, []);
    assert_eq!(find(store, command.number).await.state, CommandState::Accepted);

    let mut message = reporting(device, 5, &[(id, CommandState::Failed)]);
    let outcome = CommandOutcome { failure: CommandFailure(12), detail: 3, words: vec![1, 2] };
    message.reported.results[0].outcome = outcome.clone();
    assert_eq!(receipt(store, message.clone()).await.moved.len(), 1);
    // The same message, and its result again in later ones.
    assert_eq!(receipt(store, message.clone()).await.moved, []);
    message.counter.0 = 6;
    assert_eq!(receipt(store, message).await.moved, []);
    let ended = find(store, command.number).await;
    assert_eq!((ended.state, &ended.outcome), (CommandState::Failed, &outcome));
    assert_eq!(ended.since, UnixMs(ARRIVAL.0 + 5));
    let by = |state, who: &str| (state, who.to_owned());
    let expected = [
        by(CommandState::Queued, "a test"),
        by(CommandState::Sent, "server"),
        by(CommandState::Accepted, "dev-1"),
        by(CommandState::Failed, "dev-1"),
    ];
    assert_eq!(history(store, command.number).await, expected);
    let steps = store.list_transitions(&ended).await.unwrap();
    assert_eq!(steps[3].device_at, Some(UnixMs(ARRIVAL.0 + 77)));
    assert_eq!((steps[3].failure, steps[3].detail), (CommandFailure(12), 3));
}

#[tokio::test]
async fn same_request_twice_makes_one_command() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    let new = NewCommand { key: Some("mine".into()), ..new_command(device) };
    let first = create(store, new.clone()).await;
    // A client that got no answer asks again, even after the command has ended.
    let again = store.create_command(by_at(ARRIVAL), new.clone()).await.unwrap();
    assert_eq!((again.is_new, again.command.number), (false, first.number));
    store.cancel_command(by_at(ARRIVAL), first.number).await.unwrap();
    let again = store.create_command(by_at(ARRIVAL), new.clone()).await.unwrap();
    assert_eq!((again.is_new, again.command.state), (false, CommandState::Cancelled));
    let other = NewCommand { priority: 6, ..new.clone() };
    let refused = store.create_command(by_at(ARRIVAL), other).await;
    assert!(matches!(refused, Err(CreateCommandError::KeyTaken(n)) if n == first.number));
    let late = NewCommand { deadline: ARRIVAL, ..new_command(device) };
    let refused = store.create_command(by_at(ARRIVAL), late).await;
    assert!(matches!(refused, Err(CreateCommandError::Late)), "{refused:?}");
    let long = NewCommand { key: Some("x".repeat(65)), ..new };
    let refused = store.create_command(by_at(ARRIVAL), long).await;
    assert!(matches!(refused, Err(CreateCommandError::Key)), "{refused:?}");
    let lines = store.list_audit(None, 100).await.unwrap();
    let lines: Vec<_> = lines.iter().map(|line| (&*line.change, &*line.subject)).collect();
    let subject = format!("{} of dev-1", first.number);
    assert_eq!(lines[..2], [("command.cancel", &*subject), ("command.create", &*subject)]);
}

#[tokio::test]
async fn only_a_queued_command_is_cancelled() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    let kept = create(store, new_command(device)).await.number;
    let id = sent(store, upload(device, 1, Vec::new())).await[0];
    let cancel = |number| store.cancel_command(by_at(ARRIVAL), number);
    assert!(matches!(cancel(kept).await, Err(CancelCommandError::Sent)));
    sent(store, reporting(device, 2, &[(id, CommandState::Succeeded)])).await;
    assert!(matches!(cancel(kept).await, Err(CancelCommandError::Ended)));
    let gone = create(store, new_command(device)).await.number;
    assert_eq!(cancel(gone).await.unwrap().state, CommandState::Cancelled);
    assert!(matches!(cancel(gone).await, Err(CancelCommandError::Ended)));
    assert!(matches!(cancel(CommandNumber(99)).await, Err(CancelCommandError::Unknown)));
    assert_eq!(sent(store, upload(device, 3, Vec::new())).await, []);
}

#[tokio::test]
async fn time_ends_commands_without_a_message() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    let out = create(store, new_command(device)).await;
    let id = sent(store, upload(device, 1, Vec::new())).await[0];
    let queued = create(store, new_command(device)).await;
    let deadline = out.new.deadline;
    let end = |now: i64| store.end_commands(UnixMs(now));
    assert_eq!(end(deadline.0 - 1).await.unwrap(), []);
    let ended = end(deadline.0).await.unwrap();
    assert_eq!((ended[0].number, ended[0].state), (queued.number, CommandState::Expired));
    assert_eq!(end(deadline.0).await.unwrap(), [], "any number of times");
    let ended = end(deadline.0 + COMMAND_GRACE_MS).await.unwrap();
    assert_eq!((ended[0].number, ended[0].state), (out.number, CommandState::Unknown));
    // The device was away and knows better.
    sent(store, reporting(device, 2, &[(id, CommandState::Succeeded)])).await;
    assert_eq!(find(store, out.number).await.state, CommandState::Succeeded);
    sent(store, reporting(device, 3, &[(id, CommandState::Failed)])).await;
    let states: Vec<_> =
        history(store, out.number).await.into_iter().map(|(state, _)| state).collect();
    use CommandState::{Queued, Sent, Succeeded, Unknown};
    assert_eq!(states, [Queued, Sent, Unknown, Succeeded]);
}

#[tokio::test]
async fn open_and_ended_commands_are_bounded() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    let mut numbers = Vec::new();
    for _ in 0..OPEN_COMMANDS_MAX {
        numbers.push(create(store, new_command(device)).await.number);
    }
    let refused = store.create_command(by_at(ARRIVAL), new_command(device)).await;
    assert!(matches!(refused, Err(CreateCommandError::TooMany)), "{refused:?}");
    store.cancel_command(by_at(ARRIVAL), numbers[0]).await.unwrap();
    create(store, new_command(device)).await;
    let keyed = NewCommand { key: Some("k".into()), ..new_command(DeviceNumber(99)) };
    let refused = store.create_command(by_at(ARRIVAL), keyed).await;
    assert!(matches!(refused, Err(CreateCommandError::UnknownDevice)), "{refused:?}");

    for number in &numbers[1..] {
        store.cancel_command(by_at(ARRIVAL), *number).await.unwrap();
    }
    for _ in 0..ENDED_COMMANDS_KEPT {
        let number = create(store, new_command(device)).await.number;
        store.cancel_command(by_at(ARRIVAL), number).await.unwrap();
    }
    create(store, new_command(device)).await;
    assert_eq!(store.find_command(numbers[0]).await.unwrap(), None);
    let other = rusqlite::Connection::open(fixture.dir.path().join("ecowatt.db")).unwrap();
    let count = |sql: &str| other.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM command WHERE state >= 3"), ENDED_COMMANDS_KEPT);
    let kept = ENDED_COMMANDS_KEPT * 2 + 2;
    assert_eq!(count("SELECT count(*) FROM command_transition"), kept);
}

#[tokio::test]
async fn lists_and_figures_tell_what_happened() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    for _ in 0..3 {
        create(store, new_command(device)).await;
    }
    let ids = sent(store, upload(device, 1, Vec::new())).await;
    let results = [(ids[0], CommandState::Succeeded), (ids[1], CommandState::Failed)];
    sent(store, reporting(device, 40, &results)).await;
    let last = create(store, new_command(device)).await.number;
    let list = |state, before, limit| async move {
        let query = CommandQuery { device, state, before, limit };
        let listed = store.list_commands(query).await.unwrap();
        listed.iter().map(|command| command.number.0).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 9).await, [4, 3, 2, 1]);
    assert_eq!(list(None, Some(last), 2).await, [3, 2]);
    assert_eq!(list(Some(CommandState::Failed), None, 9).await, [2]);
    let figures = store.command_figures(Some(device), ARRIVAL).await.unwrap();
    assert_eq!(figures, store.command_figures(None, ARRIVAL).await.unwrap());
    assert_eq!(figures.latencies_ms, [40, 40]);
    let counts: Vec<_> = figures.states.iter().map(|of| of.commands).collect();
    assert_eq!(counts, [1, 1, 0, 1, 1, 0, 0, 0]);
    let none = store.command_figures(Some(DeviceNumber(2)), ARRIVAL).await.unwrap();
    assert!(none.states.iter().all(|of| of.commands == 0));
    let later = store.command_figures(None, UnixMs(ARRIVAL.0 + 41)).await.unwrap();
    assert_eq!(later.latencies_ms, []);
}

#[tokio::test]
async fn restored_copy_sends_nothing_that_may_have_been_executed() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    let out = create(store, new_command(device)).await;
    let id = sent(store, upload(device, 1, Vec::new())).await[0];
    let queued = create(store, new_command(device)).await;
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    back_up(fixture.dir.path(), &copy, |_| true).unwrap();
    // After the copy the queued one is sent and executed.
    let more = sent(store, upload(device, 2, Vec::new())).await;
    assert_eq!(more.len(), 2);

    let folder = copies.path().join("restored");
    restore(&copy, &folder, None, |_| true).unwrap();
    let store = Store::open(&folder).unwrap();
    for number in [out.number, queued.number] {
        assert_eq!(find(&store, number).await.state, CommandState::Unknown);
    }
    assert_eq!(history(&store, queued.number).await[1].1, "restore");
    let results = more.iter().map(|id| (*id, CommandState::Succeeded)).collect::<Vec<_>>();
    let receipt = receipt(&store, reporting(device, 3, &results)).await;
    assert_eq!((receipt.commands, receipt.ignored_results), (vec![], 1));
    assert_eq!(find(&store, out.number).await.state, CommandState::Succeeded, "{id:?}");
    // Its numbers are not used again, as long as it is not restored within the second.
    create(&store, new_command(device)).await;
    let mut message = upload(device, 4, Vec::new());
    message.received_at = UnixMs(ARRIVAL.0 + 60_000);
    assert!(sent(&store, message).await[0] > more[1]);
}

#[tokio::test]
async fn old_key_cannot_undo_what_is_under_way() {
    let fixture = Fixture::new().await;
    let (store, device) = (&fixture.store, fixture.device());
    create(store, new_command(device)).await;
    // Queued together, so that most are decided in one transaction.
    let mut tasks = Vec::new();
    for counter in 1..=20u64 {
        let mut message = upload(device, counter, Vec::new());
        if counter % 2 == 0 {
            (message.generation, message.epoch) = (KeyGeneration(9), BootEpoch(1));
        }
        let store = store.clone();
        tasks.push(tokio::spawn(async move { store.ingest(message).await.unwrap() }));
        tokio::task::yield_now().await;
    }
    let mut ids = Vec::new();
    for task in tasks {
        if let UploadOutcome::Stored(receipt) = task.await.unwrap() {
            ids.extend(receipt.commands.iter().map(|sent| sent.id));
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}
