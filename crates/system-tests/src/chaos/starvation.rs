//! Faults that deprive the server of file descriptors, places for connections, or space on its
//! disk. It must recover by itself when they are available again.

use std::collections::BTreeMap;
use std::future::ready;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ecowatt_clock::Clock;
use rustix::process::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answers::{Answer, Answers};
use crate::overload::{OverloadResult, is_healthy};
use crate::process::{limit_files, open_files};
use crate::test_disk::Volume;

/// Result of a fault that runs as its own task.
#[derive(Default)]
pub(super) struct FaultReport {
    pub(super) note: String,
    pub(super) violation: Option<String>,
    pub(super) overload: Option<(OverloadResult, u32)>,
    pub(super) rejected_full: u64,
}

/// Descriptors left to the starved server, besides one for each agent: after the starvers have
/// gone, its health must be checked over a new connection.
const FILES_LEFT: u64 = 4;
/// Connections beyond the descriptors that it has.
const STARVERS: u64 = 60;
/// How long a starved server may take to log that it cannot accept.
const SHORT_MAX: Duration = Duration::from_secs(60);
/// Connections that the server leaves to one address, three quarters of 4,096, and those that idle:
/// each further one takes the place of another.
const PLACES: u64 = 3_072;
const IDLERS: usize = 4_400;
/// Attempts to occupy all places before the first idle connections are closed.
const CROWDS_MAX: u32 = 3;
/// Pause between two checks of a state.
const LOOK: Duration = Duration::from_millis(20);
/// Connections that are opened at a time.
const AT_ONCE: usize = 100;
/// How long a connection may take to open; when the listener's backlog is full, SYN is repeated
/// after 1, 3 and 7 s (tcp(7)).
const CONNECT_MAX: Duration = Duration::from_secs(4);
/// How long one request may take while a server is recovering.
const ASK_MAX: Duration = Duration::from_secs(5);
/// How long idle connections may stay: the server closes them after that time.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// How long the server may take to recover, on a busy machine.
const RECOVERY_MAX: Duration = Duration::from_secs(120);
/// How long a full disk may go unnoticed: the log may still have room that is written to first.
const UNNOTICED_MAX: Duration = Duration::from_secs(30);

/// The server under siege.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) pid: Pid,
    pub(super) listen: String,
    pub(super) log: PathBuf,
    pub(super) agents: u64,
}

/// Lowers the server's limit of file descriptors to little more than it has open, and opens more
/// connections than that. When they are closed it must accept again, under the same limit.
pub(super) async fn starve(server: Target, lasting: Duration) -> Result<FaultReport> {
    let before = refusals(&server.log)?;
    let left = FILES_LEFT + server.agents;
    let had = limit_files(server.pid, Some(open_files(server.pid)? + left))?;
    let starvers = idlers(&server.listen, usize::try_from(left + STARVERS)?).await;
    let is_short = || ready(refusals(&server.log).map(|count| count > before));
    let was_short = holds_within(SHORT_MAX, is_short).await?;
    tokio::time::sleep(lasting).await;
    drop(starvers);
    let recovered = recovery(&server.listen).await;
    limit_files(server.pid, had)?;
    let violation = match recovered {
        _ if !was_short => Some("the server never ran out of file descriptors".to_owned()),
        None => Some(format!("no connection accepted {RECOVERY_MAX:?} after a shortage of files")),
        Some(_) => None,
    };
    let seconds = recovered.unwrap_or_default().as_secs_f64();
    let note = format!("descriptors are free again: the server accepted after {seconds:.1} s");
    Ok(FaultReport { note, violation, ..FaultReport::default() })
}

/// Opens all connections that the server allows one address, and leaves them idle. A new connection
/// must still be served.
pub(super) async fn crowd(server: Target) -> Result<FaultReport> {
    let pid = server.pid;
    let is_full = move || ready(open_files(pid).map(|count| count >= PLACES));
    let mut crowds = 0;
    let (idlers, was_full) = loop {
        crowds += 1;
        let watch = tokio::spawn(holds_within(RECOVERY_MAX, is_full));
        let idlers = idlers(&server.listen, IDLERS).await;
        let was_full = watch.is_finished() || holds_within(IDLE_MAX, is_full).await?;
        watch.abort();
        if was_full || crowds == CROWDS_MAX {
            break (idlers, was_full);
        }
    };
    let recovered = recovery(&server.listen).await;
    let count = idlers.len();
    drop(idlers);
    let violation = match recovered {
        _ if !was_full => Some(format!("{count} idle connections did not take all places")),
        None => Some(format!("no connection accepted {RECOVERY_MAX:?} after {count} idle ones")),
        Some(_) => None,
    };
    let seconds = recovered.unwrap_or_default().as_secs_f64();
    let note = format!(
        "{count} idle connections took all places; the next was served after {seconds:.1} s"
    );
    Ok(FaultReport { note, violation, ..FaultReport::default() })
}

/// Fills the server's disk until a request that must write was rejected, and for a while after
/// that, then frees the space. The server must then accept writes again.
pub(super) async fn fill_up(
    disk: Arc<Volume>,
    listen: String,
    token: String,
    lasting: Duration,
) -> Result<FaultReport> {
    let clock = Clock::system();
    let mut report = FaultReport::default();
    let mut others = BTreeMap::new();
    let mut noticed = None;
    loop {
        let passed = Duration::from_millis(clock.mono().0);
        if passed > noticed.unwrap_or(UNNOTICED_MAX) + lasting {
            break;
        }
        // Space that the server frees meanwhile is filled again.
        disk.fill()?;
        match timeout(ASK_MAX, write(&listen, &token)).await {
            Ok(Ok(Answer { status: 503, retry_after: Some(_), .. })) => {
                report.rejected_full += 1;
                noticed.get_or_insert(passed);
                tokio::time::sleep(LOOK).await;
            }
            Ok(Ok(Answer { status: 201, .. })) => {}
            Ok(Ok(answer)) => *others.entry(answer.status).or_insert(0u64) += 1,
            // Another fault may have stopped the server.
            Ok(Err(_)) | Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
    disk.free()?;
    let is_taken = || async {
        let answer = timeout(ASK_MAX, write(&listen, &token)).await;
        Ok(matches!(answer, Ok(Ok(Answer { status: 201, .. }))))
    };
    let freed = clock.mono();
    let is_well = holds_within(RECOVERY_MAX, is_taken).await?;
    let seconds = clock.mono().since(freed).as_secs_f64();
    report.note = format!(
        "space is free again: {} requests were rejected; the server accepted writes after {seconds:.1} s",
        report.rejected_full
    );
    report.violation = match (others.is_empty(), is_well) {
        (false, _) => Some(format!("answers on a full disk other than 201 and 503: {others:?}")),
        (_, false) => Some(format!("no write accepted {RECOVERY_MAX:?} after the disk was full")),
        (true, true) => None,
    };
    Ok(report)
}

/// Sends a request that must be stored.
async fn write(listen: &str, token: &str) -> std::io::Result<Answer> {
    let body = r#"{"name":"Probe","site":{"name":"Trial","time_zone":"UTC"}}"#;
    let mut stream = TcpStream::connect(listen).await?;
    let request = format!(
        "POST /api/v1/devices HTTP/1.1\r\nhost: {listen}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    Answers::new(stream).next().await
}

/// Whether a state is reached in time.
async fn holds_within<F: Future<Output = Result<bool>>>(
    patience: Duration,
    mut holds: impl FnMut() -> F,
) -> Result<bool> {
    let look = async {
        while !holds().await? {
            tokio::time::sleep(LOOK).await;
        }
        Ok(true)
    };
    timeout(patience, look).await.unwrap_or(Ok(false))
}

/// Opens connections; every other one sends half a request.
async fn idlers(listen: &str, count: usize) -> Vec<TcpStream> {
    let mut idlers = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    for number in 0..count {
        if opening.len() >= AT_ONCE {
            idlers.extend(opening.join_next().await.and_then(Result::ok).flatten());
        }
        let listen = listen.to_owned();
        opening.spawn(async move {
            let connect = timeout(CONNECT_MAX, TcpStream::connect(&listen)).await;
            let mut stream = connect.ok()?.ok()?;
            if number % 2 == 0 {
                let _ = stream.write_all(b"POST /link HTTP/1.1\r\nhost: ").await;
            }
            Some(stream)
        });
    }
    while let Some(opened) = opening.join_next().await {
        idlers.extend(opened.ok().flatten());
    }
    idlers
}

/// How long until the server answers on a new connection.
async fn recovery(listen: &str) -> Option<Duration> {
    let clock = Clock::system();
    let is_well = || async { Ok(timeout(ASK_MAX, is_healthy(listen)).await.unwrap_or(false)) };
    let is_healthy = holds_within(RECOVERY_MAX, is_well).await.unwrap_or(false);
    is_healthy.then(|| Duration::from_millis(clock.mono().0))
}

/// How often the server logged that it could not accept a connection.
fn refusals(log: &Path) -> Result<usize> {
    let text = std::fs::read(log).with_context(|| format!("reading {}", log.display()))?;
    Ok(String::from_utf8_lossy(&text).matches("connection not accepted").count())
}
