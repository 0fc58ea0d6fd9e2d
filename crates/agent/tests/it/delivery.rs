//! From a register to the server.

use crate::rig::agents::{Agent, assert_stored, config, logged, until};
use crate::rig::inverter::Inverter;
use crate::rig::server::{Mode, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_reach_the_server_exactly_once() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("twenty samples", || server.rows().len() >= 20).await;
    agent.stop().await;
    assert_eq!(server.rows(), logged(data.path()));
    assert_eq!(server.kept.lock().unwrap().layouts.len(), 1);
    let rows = server.rows();
    let steps: Vec<i64> = rows.windows(2).skip(1).map(|w| w[1].t_ms - w[0].t_ms).collect();
    assert!(steps.iter().all(|step| step % 5_000 == 0), "{steps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_and_kills_lose_nothing() {
    let (mut server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let mut agent = Agent::start(config(&server, &inverter, data.path()));
    until("first samples", || server.rows().len() >= 5).await;

    server.set_mode(Mode::LosesReplies);
    until("a resend", || server.kept.lock().unwrap().resent >= 1).await;
    server.set_mode(Mode::Busy);
    let before = logged(data.path()).len();
    until("samples while busy", || logged(data.path()).len() >= before + 5).await;
    server.stop();
    for _ in 0..3 {
        agent.kill().await;
        agent = Agent::start(config(&server, &inverter, data.path()));
        let before = logged(data.path()).len();
        until("samples without a server", || logged(data.path()).len() >= before + 5).await;
    }
    server.set_mode(Mode::Well);
    server.resume().await;
    until("the backlog", || server.rows().len() >= logged(data.path()).len()).await;
    agent.stop().await;
    assert_stored(&server.rows(), data.path());
    assert_eq!(server.door.lock().unwrap().enrolments, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_the_server_closes_are_opened_again() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    server.set_mode(Mode::Closes);
    let agent = Agent::start(config(&server, &inverter, data.path()));
    until("twenty samples", || server.rows().len() >= 20).await;
    agent.stop().await;
    assert_eq!(server.rows(), logged(data.path()));
}
