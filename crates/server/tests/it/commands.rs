//! Commands from an operator to a device and their results back, through both sockets.

use ecowatt_clock::Clock;
use ecowatt_model::{CommandId, UnixMs};
use ecowatt_wire::{
    CommandAction, CommandFailure, CommandResult, CommandState, RESULTS_MAX, UplinkWriter,
};
use serde_json::{Value, json};

use crate::events::Reader;
use crate::rig::device::TestDevice;
use crate::rig::world::{Answer, JSON, World};

async fn post(world: &World, target: &str, body: &Value) -> Answer {
    let (name, token) = world.bearer();
    world.send("POST", target, &[(name, &token), JSON], body.to_string()).await
}

async fn send(world: &World, device: &str, body: Value) -> Value {
    let answer = post(world, &format!("/api/v1/devices/{device}/commands"), &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

async fn find(world: &World, command: &Value) -> Value {
    world.get_json(&format!("/api/v1/commands/{}", command["id"].as_str().unwrap())).await
}

fn result(id: CommandId, state: CommandState) -> CommandResult<'static> {
    CommandResult { id, state, at: None, failure: CommandFailure::None, detail: 0, words: &[] }
}

/// Writes these results into a message.
fn results<'a>(results: &'a [CommandResult<'a>]) -> impl FnOnce(&mut UplinkWriter<'_>) + use<'a> {
    move |writer| {
        writer.results(&mut results.iter().copied(), 0).unwrap();
    }
}

fn nothing(_: &mut UplinkWriter<'_>) {}

/// The numbers and deadlines of the commands of a reply, which must be this order.
fn received(
    device: &TestDevice,
    answer: &Answer,
    order: &CommandAction<'_>,
) -> Vec<(CommandId, UnixMs)> {
    device.read(answer, |reply| {
        let commands = reply.commands().map(|command| {
            assert_eq!(command.order, *order);
            (command.id, command.deadline)
        });
        commands.collect()
    })
}

fn ids(device: &TestDevice, answer: &Answer) -> Vec<CommandId> {
    device.read(answer, |reply| reply.commands().map(|command| command.id).collect())
}

fn states(command: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let steps = command["transitions"].as_array().unwrap();
    steps.iter().map(|step| (text(&step["state"]), text(&step["by"]))).collect()
}

/// A device with one inverter, which it has reported.
async fn with_inverter(world: &World) -> TestDevice {
    let mut device = TestDevice::enrol(world, "Roof").await;
    let now = Clock::system().now();
    device.deliver(world, now, &[(now, Some(1))]).await;
    device
}

#[tokio::test]
async fn command_reaches_the_device_once_and_its_result_comes_back() {
    let world = World::start().await;
    let mut device = with_inverter(&world).await;
    let id = device.id.clone();
    let mut events = Reader::open(&world, &format!("?device={id}")).await;
    let sent =
        send(&world, &id, json!({"kind": "set_power", "arguments": {"watts": "3000"}})).await;
    assert_eq!((&sent["state"], &sent["inverter"]), (&json!("queued"), &json!(0)));
    assert_eq!(sent["arguments"], json!({"watts": "3000"}));
    let data = events.event("command").await;
    assert_eq!(data["state"], "queued");
    assert_eq!((&data["device"], &data["command"]), (&json!(id), &sent["id"]));

    let order = CommandAction::LimitPowerWatts { watts: 3_000 };
    let message = device.sealed(nothing);
    let answer = TestDevice::send_bytes(&world, &message).await;
    let [(number, deadline)] = received(&device, &answer, &order)[..] else { panic!("{answer:?}") };
    let from = Clock::system().now().0;
    assert!((from + 800_000..from + 901_000).contains(&deadline.0), "15 minutes: {deadline:?}");
    // The reply was lost, and the message is sent again.
    let answer = TestDevice::send_bytes(&world, &message).await;
    assert_eq!(received(&device, &answer, &order), [(number, deadline)]);
    let answer = device.report(&world, nothing).await;
    assert_eq!(ids(&device, &answer), [number]);
    let answer = device.report(&world, results(&[result(number, CommandState::Accepted)])).await;
    assert_eq!(ids(&device, &answer), []);
    let cancel = format!("/api/v1/commands/{}/cancel", sent["id"].as_str().unwrap());
    let refused = post(&world, &cancel, &json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "command_sent"));

    let failed = CommandResult {
        state: CommandState::Failed,
        at: Some(UnixMs(1_795_774_495_000)),
        failure: CommandFailure::Exception,
        detail: 2,
        words: &[0x0b, 0xb8],
        ..result(number, CommandState::Failed)
    };
    let message = device.sealed(results(&[failed, result(number, CommandState::Accepted)]));
    for _ in 0..2 {
        TestDevice::send_bytes(&world, &message).await;
    }
    device.report(&world, results(&[result(number, CommandState::Succeeded)])).await;
    let found = find(&world, &sent).await;
    assert_eq!((&found["state"], &found["failure"]), (&json!("failed"), &json!("exception")));
    assert_eq!((&found["exception"], &found["registers"]), (&json!(2), &json!([3_000])));
    let by = |state: &str, by: &str| (state.to_owned(), by.to_owned());
    let expected = [
        by("queued", "token 1 (set-up)"),
        by("sent", "server"),
        by("accepted", &id),
        by("failed", &id),
    ];
    assert_eq!(states(&found), expected);
    assert_eq!(found["transitions"][3]["device_at"], "2026-11-27T10:14:55.000Z");
    let refused = post(&world, &cancel, &json!({})).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "command_ended"));
}

#[tokio::test]
async fn request_that_is_repeated_makes_one_command() {
    let world = World::start().await;
    let mut device = with_inverter(&world).await;
    let id = device.id.clone();
    let body = json!({"kind": "reboot", "key": "mine", "valid_for_s": 60});
    let first = send(&world, &id, body.clone()).await;
    let target = format!("/api/v1/devices/{id}/commands");
    let again = post(&world, &target, &body).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &first["id"]));
    let other = json!({"kind": "restart", "key": "mine", "valid_for_s": 60});
    let refused = post(&world, &target, &other).await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "command_key_taken"));
    let answer = device.report(&world, nothing).await;
    assert_eq!(received(&device, &answer, &CommandAction::Reboot).len(), 1);
    let list = world.get_json(&target).await;
    assert_eq!(list["commands"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn bad_commands_are_refused_with_the_bound_and_make_none() {
    let world = World::start().await;
    let device = with_inverter(&world).await;
    let target = format!("/api/v1/devices/{}/commands", device.id);
    let watts = json!({"watts": "1"});
    for (body, status, code, message) in [
        (json!({"kind": "stop"}), 400, "command_kind_unknown", "set_power, "),
        (json!({"kind": "set_power"}), 400, "invalid_command", "0 to 10000000 W"),
        (
            json!({"kind": "set_power_percentage", "arguments": {"percent": "101"}}),
            400,
            "invalid_command",
            "0 to 100 %",
        ),
        (json!({"kind": "reboot", "inverter": 0}), 400, "invalid_command", "whole device"),
        (
            json!({"kind": "set_power", "arguments": watts, "inverter": 1}),
            404,
            "inverter_unknown",
            "inverter 1",
        ),
        (json!({"kind": "reboot", "priority": 10}), 400, "invalid_priority", "0 to 9"),
        (json!({"kind": "reboot", "valid_for_s": 0}), 400, "invalid_duration", "604800"),
        (json!({"kind": "reboot", "valid_for_s": 604_801}), 400, "invalid_duration", "604800"),
        (json!({"kind": "reboot", "not_before": "soon"}), 400, "invalid_time", "RFC 3339"),
        (
            json!({"kind": "reboot", "not_before": "2999-01-01T00:00:00Z"}),
            400,
            "invalid_time",
            "31 days",
        ),
        (
            json!({"kind": "reboot", "not_before": "2020-01-01T00:00:00Z"}),
            409,
            "deadline_passed",
            "deadline",
        ),
        (json!({"kind": "reboot", "key": ""}), 400, "invalid_key", "1 to 64"),
        (json!({"kind": "reboot", "at": "now"}), 422, "invalid_body", "at"),
    ] {
        let answer = post(&world, &target, &body).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
        let text = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(text.contains(message), "{body}: {text}");
    }
    let several = TestDevice::enrol(&world, "New").await.id;
    let target = format!("/api/v1/devices/{several}/commands");
    let body = json!({"kind": "set_power", "arguments": watts});
    let answer = post(&world, &target, &body).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_command"));
    for (target, code) in [
        ("/api/v1/commands/17", "invalid_id"),
        ("/api/v1/commands/cmd-17", "command_unknown"),
        ("/api/v1/commands/statistics?hours=745", "invalid_range"),
        ("/api/v1/commands/statistics?device=dev-99", "device_unknown"),
        ("/api/v1/devices/dev-1/commands?limit=101", "invalid_limit"),
        ("/api/v1/devices/dev-1/commands?cursor=7", "invalid_cursor"),
        ("/api/v1/devices/dev-1/commands?state=lost", "invalid_query"),
    ] {
        let (name, token) = world.bearer();
        let answer = world.send("GET", target, &[(name, &token)], "").await;
        assert_eq!(answer.code(), code, "{target}");
    }
    let figures = world.get_json("/api/v1/commands/statistics").await;
    assert_eq!(figures["queued"], 0, "{figures}");
}

/// A device that is broken or in a thief's hands.
#[tokio::test]
async fn wrong_results_change_nothing_and_are_counted() {
    let world = World::start().await;
    let mut device = with_inverter(&world).await;
    let id = device.id.clone();
    let mut other = TestDevice::enrol(&world, "Other").await;
    let sent = send(&world, &id, json!({"kind": "upload"})).await;
    let answer = device.report(&world, nothing).await;
    let number = ids(&device, &answer)[0];
    // The other device reports what it was never sent.
    other.report(&world, results(&[result(number, CommandState::Succeeded)])).await;
    assert_eq!(find(&world, &sent).await["state"], "sent");
    let flood: Vec<_> = (0..u32::try_from(RESULTS_MAX).unwrap())
        .map(|n| result(CommandId(n), CommandState::Failed))
        .collect();
    for _ in 0..20 {
        let answer = device.report(&world, results(&flood)).await;
        assert_eq!(ids(&device, &answer), [number], "what is right goes on");
    }
    let text = world.get("/metrics").await.text();
    let line = format!("ecowatt_link_results_ignored_total {}", 1 + 20 * RESULTS_MAX);
    assert!(text.contains(&line), "{text}");
    let ended = [result(number, CommandState::Succeeded), result(number, CommandState::Accepted)];
    for _ in 0..20 {
        device.report(&world, results(&ended)).await;
    }
    let found = find(&world, &sent).await;
    assert_eq!((&found["state"], states(&found).len()), (&json!("succeeded"), 3));
}

#[tokio::test]
async fn list_figures_and_cancelling_show_how_far_commands_are() {
    let world = World::start().await;
    let mut device = with_inverter(&world).await;
    let id = device.id.clone();
    let first = send(&world, &id, json!({"kind": "upload"})).await;
    let answer = device.report(&world, nothing).await;
    let number = ids(&device, &answer)[0];
    device.report(&world, results(&[result(number, CommandState::Succeeded)])).await;
    let second = send(&world, &id, json!({"kind": "diagnose"})).await;
    let third = send(&world, &id, json!({"kind": "clear_fault", "priority": 9})).await;
    let cancel = format!("/api/v1/commands/{}/cancel", second["id"].as_str().unwrap());
    let cancelled = post(&world, &cancel, &json!({})).await;
    assert_eq!((cancelled.status, &cancelled.json()["state"]), (200, &json!("cancelled")));

    let target = format!("/api/v1/devices/{id}/commands");
    let page = world.get_json(&format!("{target}?limit=2")).await;
    assert_eq!(page["commands"][0]["id"], third["id"]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = world.get_json(&format!("{target}?limit=2&cursor={cursor}")).await;
    assert_eq!((&rest["commands"][0]["id"], &rest["next_cursor"]), (&first["id"], &Value::Null));
    let queued = world.get_json(&format!("{target}?state=queued")).await;
    assert_eq!(queued["commands"].as_array().unwrap().len(), 1);
    for device in ["", &format!("&device={id}")] {
        let target = format!("/api/v1/commands/statistics?hours=1{device}");
        let figures = world.get_json(&target).await;
        assert_eq!((&figures["queued"], &figures["cancelled"]), (&json!(1), &json!(1)));
        assert_eq!((&figures["succeeded"], &figures["success_rate"]), (&json!(1), &json!(1.0)));
        assert!(figures["latency_p99_ms"].as_i64().unwrap() < 10_000, "{figures}");
    }
    let kinds = world.get_json("/api/v1/commands/kinds").await;
    let kinds = kinds["kinds"].as_array().unwrap();
    assert_eq!((kinds.len(), &kinds[1]["arguments"][0]["max"]), (11, &json!(100.0)));
    let answer = device.report(&world, nothing).await;
    assert_eq!(received(&device, &answer, &CommandAction::ClearFault).len(), 1);
    let is_for_all = device.read(&answer, |reply| reply.commands().all(|one| one.source.is_none()));
    assert!(is_for_all);
}

#[tokio::test]
async fn deadline_ends_a_command_without_any_message() {
    let world = World::start().await;
    let device = with_inverter(&world).await;
    let sent = send(&world, &device.id, json!({"kind": "upload", "valid_for_s": 1})).await;
    let begun = Clock::system().mono();
    while find(&world, &sent).await["state"] != "expired" {
        assert!(Clock::system().mono().since(begun).as_secs() < 20);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
