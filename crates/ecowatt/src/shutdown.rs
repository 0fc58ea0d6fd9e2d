//! When a process is asked to stop.

use tokio::signal::unix::{Signal, SignalKind, signal as listen};

/// Ready at the first SIGINT or SIGTERM.
///
/// Signals are caught from the first poll on.
pub(crate) async fn signal() {
    let both = listen(SignalKind::interrupt())
        .and_then(|interrupt| Ok((interrupt, listen(SignalKind::terminate())?)));
    match both {
        Ok((interrupt, terminate)) => first(interrupt, terminate).await,
        Err(error) => {
            tracing::warn!(%error, "signals cannot be caught; only SIGKILL will stop this");
            std::future::pending().await
        }
    }
}

async fn first(mut interrupt: Signal, mut terminate: Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
