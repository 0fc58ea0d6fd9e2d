//! Agents in this process, and the samples that they log as durable.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ecowatt_agent::{Config, LogControl, LogLevel, RunError, ServerContact};
use ecowatt_clock::Clock;
use ecowatt_model::UnixMs;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::rig::inverter::Inverter;
use crate::rig::server::{Row, Server};

/// An agent in this process, a hundred times as fast as real time.
pub(crate) struct Agent {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), RunError>>,
    data: PathBuf,
    /// The levels that its log was set to.
    pub(crate) levels: Arc<Mutex<Vec<LogLevel>>>,
}

impl Agent {
    pub(crate) fn start(config: Config) -> Self {
        Self::start_told(config).0
    }

    /// An agent, and how it stands with its server.
    pub(crate) fn start_told(config: Config) -> (Self, watch::Receiver<ServerContact>) {
        let (stop, stopped) = oneshot::channel();
        let clock = Clock::simulated(UnixMs(1_767_268_800_000), 100.0);
        let shutdown = async { drop(stopped.await) };
        let (standing, stands) = watch::channel(ServerContact::default());
        let levels: Arc<Mutex<Vec<LogLevel>>> = Arc::default();
        let noted = levels.clone();
        let log = LogControl::new(LogLevel::Info, move |level| noted.lock().unwrap().push(level));
        let data = config.data.clone();
        let run = ecowatt_agent::run_and_tell(config, clock, standing, Some(log), shutdown);
        (Self { stop: Some(stop), task: tokio::spawn(run), data, levels }, stands)
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap().unwrap();
    }

    /// Ends it as a kill would, as far as its data folder is concerned. A write that is under way on
    /// another thread ends first: the thread outlives the task, which no thread does a kill, and it
    /// holds the folder's lock.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
        let lock = File::open(self.data.join("lock")).unwrap();
        until("the folder's release", || lock.try_lock().is_ok()).await;
    }
}

pub(crate) fn config(server: &Server, inverter: &Inverter, data: &Path) -> Config {
    let transport = format!("tcp://{}", inverter.address);
    Config::parse(&text(server, &[(&transport, "ecowatt/seed-sim")], data), data).unwrap()
}

/// A configuration file for inverters given by transport and profile.
pub(crate) fn text(server: &Server, inverters: &[(&str, &str)], data: &Path) -> String {
    let mut text = format!(
        r#"
        server = "{}"
        data = "{}"
        claim_code = "{}"
        sample_log = "{}"
        [upload]
        interval = "30s"
        "#,
        server.url(),
        data.join("data").display(),
        server.claim.expose(),
        data.join("samples.csv").display(),
    );
    for (transport, profile) in inverters {
        text += &format!("[[inverter]]\ntransport = \"{transport}\"\nprofile = \"{profile}\"\n");
    }
    text
}

/// Returns the rows that the agent logged as durable.
pub(crate) fn logged(data: &Path) -> Vec<Row> {
    let numbers = |text: &str| text.split('|').map(|n| n.parse().unwrap()).collect::<Vec<u16>>();
    let text = std::fs::read_to_string(data.join("samples.csv")).unwrap_or_default();
    let mut rows: Vec<Row> = text
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            Row {
                epoch: fields[0].parse().unwrap(),
                is_unix: !fields[3].starts_with('b'),
                t_ms: fields[3].trim_start_matches('b').split('+').next().unwrap().parse().unwrap(),
                words: numbers(fields[4]),
                marks: numbers(fields[5]).iter().map(|m| u8::try_from(*m).unwrap()).collect(),
            }
        })
        .collect();
    rows.sort();
    rows
}

/// Checks that the server has the samples that the agent logged, each once, after kills and an
/// orderly stop. A kill between the draft and its line leaves a sample that is stored and not logged:
/// the last one of an epoch before the present one.
pub(crate) fn assert_stored(stored: &[Row], data: &Path) {
    let logged = logged(data);
    assert!(stored.windows(2).all(|rows| rows[0] != rows[1]), "a sample is stored twice");
    let unlogged_end = |rows: &[Row]| {
        let [row, next] = rows else { return false };
        row.epoch < next.epoch && !logged.contains(row)
    };
    let ends: Vec<&Row> =
        stored.windows(2).filter(|rows| unlogged_end(rows)).map(|rows| &rows[0]).collect();
    let others: Vec<&Row> = stored.iter().filter(|row| !ends.contains(row)).collect();
    assert_eq!(others, logged.iter().collect::<Vec<_>>());
}

/// Waits until it holds: far longer than it takes, however busy the machine is.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..12_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come to hold in two minutes");
}
