//! Signals that ask the process to stop.

use std::io::{self, Write as _};
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal as listen};
use tokio::sync::oneshot;

/// Ready at the first SIGINT or SIGTERM. A second one ends the process at once, without waiting for
/// an orderly stop; nothing that was acknowledged is lost.
///
/// Signals are caught from this call on, not from the first poll: the process may be stopped at the
/// moment at which it says that it has started.
///
/// # Panics
/// Outside of a Tokio runtime.
pub(crate) fn signal() -> impl Future<Output = ()> + Send + 'static {
    let (stop, stopped) = oneshot::channel();
    match both() {
        // This task ends with the process.
        Ok((mut interrupt, mut terminate)) => drop(tokio::spawn(async move {
            next(&mut interrupt, &mut terminate).await;
            let _ = stop.send(());
            next(&mut interrupt, &mut terminate).await;
            let _ = writeln!(io::stderr(), "second signal: stopping at once");
            process::exit(1);
        })),
        Err(error) => {
            tracing::warn!(%error, "signals cannot be caught; only SIGKILL will stop this");
        }
    }
    async {
        if stopped.await.is_err() {
            std::future::pending().await
        }
    }
}

fn both() -> io::Result<(Signal, Signal)> {
    Ok((listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?))
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
