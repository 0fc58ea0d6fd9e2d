//! The stop signal, for the parts of a running server that wait for it.

use tokio::sync::watch;

/// Waits until the server stops.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender is dropped only when the server has stopped.
    drop(stop.wait_for(|stop| *stop).await);
}
