//! Replies that the server holds for devices that wait.

use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_model::{MonoMs, UnixMs};
use ecowatt_server::Config;
use ecowatt_server::limits::HELD_REPLIES_MAX;
use ecowatt_wire::{ClockReport, UplinkWriter};
use serde_json::json;

use crate::rig::device::TestDevice;
use crate::rig::world::{Answer, JSON, LOOK_AGAIN, World, within};

/// Long enough that a reply before its end was not held to the end.
const LONG: Duration = Duration::from_secs(50);

/// A message that reports nothing and may wait.
fn wait(patience: Duration) -> impl FnOnce(&mut UplinkWriter<'_>) {
    move |writer| writer.patience(patience).unwrap()
}

/// A device whose message the server has taken since its start, so that the next one may be held.
async fn known(world: &World) -> TestDevice {
    let mut device = TestDevice::enrol(world, "Roof").await;
    let now = Clock::system().now();
    device.deliver(world, now, &[(now, Some(1))]).await;
    let answer = device.report(world, wait(LONG)).await;
    assert_eq!(held(&device, &answer), Duration::ZERO, "what was before the start is not known");
    device
}

fn held(device: &TestDevice, answer: &Answer) -> Duration {
    assert_eq!(answer.status, 200, "{}", answer.text());
    device.read(answer, |reply| reply.held())
}

async fn held_replies(world: &World) -> u64 {
    let text = world.get("/metrics").await.text();
    let line = text.lines().find(|line| line.starts_with("ecowatt_link_held_replies ")).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

async fn until_held(world: &World, count: u64) {
    within("held replies", async {
        while held_replies(world).await != count {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

async fn order(world: &World, device: &str) {
    let (name, token) = world.bearer();
    let body = json!({"kind": "upload"}).to_string();
    let target = format!("/api/v1/devices/{device}/commands");
    assert_eq!(world.send("POST", &target, &[(name, &token), JSON], body).await.status, 201);
}

async fn set(world: &World, device: &str, interval: &str) {
    let (name, token) = world.bearer();
    let body = json!({"set": {"upload_interval": interval}}).to_string();
    let target = format!("/api/v1/devices/{device}/config");
    let answer = world.send("PATCH", &target, &[(name, &token), JSON], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn command_ends_a_wait() {
    let world = World::start().await;
    let mut device = known(&world).await;
    let message = device.sealed(wait(LONG));
    let id = device.id.clone();
    let (answer, ()) = tokio::join!(TestDevice::send_bytes(&world, &message), async {
        until_held(&world, 1).await;
        order(&world, &id).await;
    });
    assert!(held(&device, &answer) < LONG);
    assert_eq!(device.read(&answer, |reply| reply.commands().len()), 1);
    assert_eq!(held_replies(&world).await, 0);
}

#[tokio::test]
async fn configuration_and_template_end_a_wait() {
    let world = World::start().await;
    let mut device = known(&world).await;
    let id = device.id.clone();
    let message = device.sealed(wait(LONG));
    let (answer, ()) = tokio::join!(TestDevice::send_bytes(&world, &message), async {
        until_held(&world, 1).await;
        set(&world, &id, "20s").await;
    });
    assert!(held(&device, &answer) < LONG);
    assert!(device.read(&answer, |reply| reply.desired().is_some()));
    // It is sent until the device has reported it, and is no news again.
    let message = device.sealed(wait(Duration::from_millis(300)));
    let answer = TestDevice::send_bytes(&world, &message).await;
    assert!(held(&device, &answer) >= Duration::from_millis(300));
    assert!(device.read(&answer, |reply| reply.desired().is_some()));
}

#[tokio::test]
async fn change_between_two_messages_is_told_by_the_next_one_at_once() {
    let world = World::start().await;
    let mut device = known(&world).await;
    order(&world, &device.id).await;
    let answer = device.report(&world, wait(LONG)).await;
    assert!(held(&device, &answer) < LONG);
    assert_eq!(device.read(&answer, |reply| reply.commands().len()), 1);
}

#[tokio::test]
async fn message_that_reports_something_is_taken_at_once() {
    let world = World::start().await;
    let mut device = known(&world).await;
    let epoch = device.identity().grant.first_epoch;
    let clock = ClockReport { epoch, mono: MonoMs(5_000), unix: Some(UnixMs(1)) };
    let answer = device
        .report(&world, |writer| {
            writer.clock(&clock).unwrap();
            writer.patience(LONG).unwrap();
        })
        .await;
    assert!(held(&device, &answer) < LONG);
}

#[tokio::test]
async fn newer_message_ends_the_wait_of_an_older_one() {
    let world = World::start().await;
    let mut device = known(&world).await;
    let (first, second) =
        (device.sealed(wait(LONG)), device.sealed(wait(Duration::from_millis(300))));
    let (first, second) = tokio::join!(TestDevice::send_bytes(&world, &first), async {
        until_held(&world, 1).await;
        TestDevice::send_bytes(&world, &second).await
    });
    assert_eq!(second.status, 200);
    // Whichever is taken first, the older one is not taken after the newer one.
    assert!([200, 409].contains(&first.status), "{}", first.status);
}

#[tokio::test]
async fn wait_of_a_client_that_goes_away_takes_no_place() {
    let world = World::start().await;
    let mut device = known(&world).await;
    let message = device.sealed(wait(LONG));
    let gone =
        tokio::time::timeout(Duration::from_secs(1), TestDevice::send_bytes(&world, &message));
    assert!(gone.await.is_err(), "the reply is held");
    until_held(&world, 0).await;
    // Nothing of it was taken, so it can be sent again.
    order(&world, &device.id).await;
    let answer = TestDevice::send_bytes(&world, &message).await;
    assert_eq!(device.read(&answer, |reply| reply.commands().len()), 1);
}

#[tokio::test]
async fn stop_ends_all_waits_with_replies() {
    let mut world = World::start().await;
    let mut device = known(&world).await;
    let message = device.sealed(wait(LONG));
    let address = world.address;
    let answer = tokio::spawn(async move { raw(address, &message).await });
    until_held(&world, 1).await;
    world.stop();
    world.stopped().await;
    let answer = answer.await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

/// Posts a message over a connection of its own.
async fn raw(address: std::net::SocketAddr, message: &[u8]) -> Vec<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /link HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/cose\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        message.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(message).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn one_address_has_its_share_of_held_replies_and_others_are_answered() {
    let share = 100 * 2 / HELD_REPLIES_MAX + 1;
    let world = World::start_with(Config { address_share: share, ..Config::default() }).await;
    let places = u64::from(HELD_REPLIES_MAX) * u64::from(share) / 100;
    let mut devices = Vec::new();
    for _ in 0..=places {
        devices.push(known(&world).await);
    }
    let mut waits = tokio::task::JoinSet::new();
    let mut last = devices.pop().unwrap();
    for mut device in devices {
        let message = device.sealed(wait(LONG));
        let address = world.address;
        waits.spawn(async move { raw(address, &message).await });
    }
    until_held(&world, places).await;
    // There is no place for its wait.
    let answer = last.report(&world, wait(LONG)).await;
    assert_eq!(held(&last, &answer), Duration::ZERO);
}
