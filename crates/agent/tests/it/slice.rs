//! From a register to the server.

use std::path::Path;
use std::time::Duration;

use ecowatt_agent::{Config, RunError};
use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::inverter::Inverter;
use crate::server::{Mode, Row, Server};

/// An agent in this process, a hundred times as fast as the world.
struct Agent {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Agent {
    fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel();
        let clock = Clock::simulated(UnixMs(1_767_268_800_000), 100.0);
        let shutdown = async { drop(stopped.await) };
        let task = tokio::spawn(ecowatt_agent::run(config, clock, shutdown));
        Self { stop: Some(stop), task }
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap().unwrap();
    }

    /// Ends it as a kill would, as far as its data folder is concerned.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

fn config(server: &Server, inverter: &Inverter, data: &Path) -> Config {
    let text = format!(
        r#"
        server = "{}"
        data = "data"
        claim_code = "{}"
        sample_log = "samples.csv"
        [upload]
        interval = "30s"
        [[inverter]]
        transport = "tcp://{}"
        profile = "ecowatt/seed-sim"
        "#,
        server.url(),
        server.claim.expose(),
        inverter.address
    );
    Config::parse(&text, data).unwrap()
}

/// The rows that the agent says are durable.
fn logged(data: &Path) -> Vec<Row> {
    let numbers = |text: &str| text.split('|').map(|n| n.parse().unwrap()).collect::<Vec<u16>>();
    let text = std::fs::read_to_string(data.join("samples.csv")).unwrap_or_default();
    let mut rows: Vec<Row> = text
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            Row {
                epoch: fields[0].parse().unwrap(),
                is_unix: !fields[3].starts_with('b'),
                t_ms: fields[3].trim_start_matches('b').parse().unwrap(),
                words: numbers(fields[4]),
                marks: numbers(fields[5]).iter().map(|m| u8::try_from(*m).unwrap()).collect(),
            }
        })
        .collect();
    rows.sort();
    rows
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come to hold in 20 s");
}

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
    assert_eq!(server.rows(), logged(data.path()));
    assert_eq!(server.kept.lock().unwrap().enrolments, 1);
}
