//! A server that refuses this device: the refusal is reported, and no sample is lost.

use ecowatt_agent::{ContactFailure, ServerContact};

use crate::rig::agents::{Agent, config, logged, until};
use crate::rig::inverter::Inverter;
use crate::rig::server::{KID, Mode, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_device_says_so_and_keeps_its_samples_until_it_is_taken_again() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let (agent, stands) = Agent::start_told(config(&server, &inverter, data.path()));
    until("an answer", || *stands.borrow() == ServerContact::Answered(KID.device)).await;

    server.set_mode(Mode::Refuses("401 Unauthorized"));
    let refused = ServerContact::Unanswered(KID.device, ContactFailure::KeyRefused);
    until("the refusal is reported", || *stands.borrow() == refused).await;
    let before = logged(data.path()).len();
    until("samples meanwhile", || logged(data.path()).len() >= before + 60).await;
    // Five minutes of the agent's clock: 2 s, 4 s, 8 s and so on fit eight times.
    let tries = server.door.lock().unwrap().refused;
    assert!(tries <= 20, "{tries} messages in the time of 60 samples");

    // Trouble of another kind is not hidden by the one before.
    server.set_mode(Mode::Refuses("409 Conflict"));
    let copied = ServerContact::Unanswered(KID.device, ContactFailure::CounterUsed);
    until("the other refusal is reported", || *stands.borrow() == copied).await;

    server.set_mode(Mode::Well);
    until("an answer", || *stands.borrow() == ServerContact::Answered(KID.device)).await;
    agent.stop().await;
    assert_eq!(server.rows(), logged(data.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_claim_code_is_said_with_what_is_wrong_and_not_tried_at_once() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    for (status, trouble) in [
        ("401 Unauthorized", ContactFailure::ClaimUnknown),
        ("409 Conflict", ContactFailure::ClaimUsed),
        ("410 Gone", ContactFailure::ClaimExpired),
        ("404 Not Found", ContactFailure::NoLink),
    ] {
        server.set_mode(Mode::Refuses(status));
        let tried = server.door.lock().unwrap().refused;
        let data = tempfile::tempdir().unwrap();
        let (agent, stands) = Agent::start_told(config(&server, &inverter, data.path()));
        until(status, || *stands.borrow() == ServerContact::NotEnrolled(trouble)).await;
        agent.stop().await;
        assert_eq!(server.door.lock().unwrap().refused, tried + 1, "{status}");
        assert!(logged(data.path()).is_empty());
    }
}
