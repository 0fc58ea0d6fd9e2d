//! Faults that take from the server what it needs to accept connections: file descriptors, and its
//! places for them. It must accept again by itself, while those who took them still hold on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ecowatt_clock::Clock;
use rustix::process::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::stage::Told;
use crate::overload::is_healthy;
use crate::process::{limit_files, open_files};

/// Descriptors that the server may still take when it is starved.
const FILES_LEFT: u64 = 3;
/// Connections that take those and are more than it has.
const STARVERS: usize = 64;
/// Connections that idle: more than the server accepts at once (4,096), so that it stops accepting;
/// the rest wait in the listener's backlog.
const IDLERS: usize = 4_400;
/// Connections that are opened at a time.
const AT_ONCE: usize = 100;
/// How long a connection may take to come about; when the listener's backlog is full, it is tried
/// again after 1, 3 and 7 s (tcp(7), retries of SYN).
const CONNECT_MAX: Duration = Duration::from_secs(4);
/// How long one question may take while a server is recovering.
const ASK_MAX: Duration = Duration::from_secs(1);
/// How long a server that is held up may take for `/health`, to count as held up.
const HELD_UP: Duration = Duration::from_secs(2);
/// How long the server may take to accept again once descriptors are there.
const STARVED_MAX: Duration = Duration::from_secs(10);
/// How long it may take to be rid of idlers: it closes them after 15 s.
const CROWDED_MAX: Duration = Duration::from_secs(30);

/// Lowers the server's limit of file descriptors to what it has open, comes with more connections
/// than that, and raises the limit again.
pub(super) async fn starve(
    server: Pid,
    listen: String,
    log: PathBuf,
    lasting: Duration,
) -> Result<Told> {
    let before = refusals(&log)?;
    let had = limit_files(server, Some(open_files(server)? + FILES_LEFT))?;
    let idlers = idlers(&listen, STARVERS).await;
    tokio::time::sleep(lasting).await;
    let refused = refusals(&log)? - before;
    limit_files(server, had)?;
    let recovered = recovery(&listen, STARVED_MAX).await;
    drop(idlers);
    let violation = match recovered {
        _ if refused == 0 => Some("the server never ran out of file descriptors".to_owned()),
        None => Some(format!("no connection accepted {STARVED_MAX:?} after a shortage of files")),
        Some(_) => None,
    };
    Ok(Told {
        note: format!(
            "files are back: the server could not accept {refused} times, then accepted after \
             {:.1} s",
            recovered.unwrap_or_default().as_secs_f64()
        ),
        violation,
        overload: None,
    })
}

/// Takes all connections that the server accepts, and does nothing with them.
pub(super) async fn crowd(listen: String) -> Result<Told> {
    let idlers = idlers(&listen, IDLERS).await;
    let was_held_up = !timeout(HELD_UP, is_healthy(&listen)).await.unwrap_or(false);
    let recovered = recovery(&listen, CROWDED_MAX).await;
    let count = idlers.len();
    drop(idlers);
    let violation = match recovered {
        _ if !was_held_up => Some(format!("{count} idle connections did not hold up the server")),
        None => Some(format!("no connection accepted {CROWDED_MAX:?} after {count} idle ones")),
        Some(_) => None,
    };
    Ok(Told {
        note: format!(
            "{count} idle connections held the server up for {:.1} s",
            recovered.unwrap_or_default().as_secs_f64()
        ),
        violation,
        overload: None,
    })
}

/// Connections of which every other has sent half a request.
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

/// How long until the server answers somebody who comes anew.
async fn recovery(listen: &str, patience: Duration) -> Option<Duration> {
    let clock = Clock::system();
    let healthy = async {
        while !timeout(ASK_MAX, is_healthy(listen)).await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let is_healthy = timeout(patience, healthy).await.is_ok();
    is_healthy.then(|| Duration::from_millis(clock.mono().0))
}

/// How often the server's log says that a connection could not be accepted.
fn refusals(log: &Path) -> Result<usize> {
    let text = std::fs::read(log).with_context(|| format!("reading {}", log.display()))?;
    Ok(String::from_utf8_lossy(&text).matches("connection not accepted").count())
}
