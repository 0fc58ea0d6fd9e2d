//! Signals that ask the process to stop.

use std::io::{self, Write as _};
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal as listen};

/// Ready at the first SIGINT or SIGTERM. A second one ends the process at once, without waiting for
/// an orderly stop; nothing that was acknowledged is lost.
///
/// Signals are caught from the first poll on.
pub(crate) async fn signal() {
    let both = listen(SignalKind::interrupt())
        .and_then(|interrupt| Ok((interrupt, listen(SignalKind::terminate())?)));
    match both {
        Ok((mut interrupt, mut terminate)) => {
            next(&mut interrupt, &mut terminate).await;
            // This task ends with the process.
            tokio::spawn(async move {
                next(&mut interrupt, &mut terminate).await;
                let _ = writeln!(io::stderr(), "second signal: stopping at once");
                process::exit(1);
            });
        }
        Err(error) => {
            tracing::warn!(%error, "signals cannot be caught; only SIGKILL will stop this");
            std::future::pending().await
        }
    }
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
