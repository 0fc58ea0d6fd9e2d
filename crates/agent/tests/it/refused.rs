//! A server that refuses this device: the refusal is reported, and no sample is lost.

use ecowatt_agent::{Standing, Trouble};

use crate::agents::{Agent, config, logged, until};
use crate::inverter::Inverter;
use crate::server::{KID, Mode, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_device_says_so_and_keeps_its_samples_until_it_is_taken_again() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    let data = tempfile::tempdir().unwrap();
    let (agent, stands) = Agent::start_told(config(&server, &inverter, data.path()));
    until("an answer", || *stands.borrow() == Standing::Answered(KID.device)).await;

    server.set_mode(Mode::Refuses("401 Unauthorized"));
    let refused = Standing::Unanswered(KID.device, Trouble::KeyRefused);
    until("the refusal is reported", || *stands.borrow() == refused).await;
    let before = logged(data.path()).len();
    until("samples meanwhile", || logged(data.path()).len() >= before + 60).await;
    // Five minutes of the agent's clock: 2 s, 4 s, 8 s and so on fit eight times.
    let tries = server.door.lock().unwrap().refused;
    assert!(tries <= 20, "{tries} messages in the time of 60 samples");

    // Trouble of another kind is not hidden by the one before.
    server.set_mode(Mode::Refuses("409 Conflict"));
    let copied = Standing::Unanswered(KID.device, Trouble::CounterUsed);
    until("the other refusal is reported", || *stands.borrow() == copied).await;

    server.set_mode(Mode::Well);
    until("an answer", || *stands.borrow() == Standing::Answered(KID.device)).await;
    agent.stop().await;
    assert_eq!(server.rows(), logged(data.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_claim_code_is_said_with_what_is_wrong_and_not_tried_at_once() {
    let (server, inverter) = (Server::start().await, Inverter::start().await);
    for (status, trouble) in [
        ("401 Unauthorized", Trouble::ClaimUnknown),
        ("409 Conflict", Trouble::ClaimUsed),
        ("410 Gone", Trouble::ClaimExpired),
        ("404 Not Found", Trouble::NoLink),
    ] {
        server.set_mode(Mode::Refuses(status));
        let tried = server.door.lock().unwrap().refused;
        let data = tempfile::tempdir().unwrap();
        let (agent, stands) = Agent::start_told(config(&server, &inverter, data.path()));
        until(status, || *stands.borrow() == Standing::NotEnrolled(trouble)).await;
        agent.stop().await;
        assert_eq!(server.door.lock().unwrap().refused, tried + 1, "{status}");
        assert!(logged(data.path()).is_empty());
    }
}
