//! Modbus TCP, RTU frames inside a TCP stream, or HTTP: one task per client, up to a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ecowatt_modbus::Framing;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection::{ACCEPT_RETRY, Connection};
use super::{CLIENTS_MAX, Shared, http, serve_connection};

/// What is spoken on a listener.
#[derive(Debug, Clone)]
pub(crate) enum Protocol {
    Modbus(Framing),
    /// The front of the earlier EcoWatt; its clients may need a key.
    Http {
        key: Option<Arc<str>>,
    },
}

/// Accepts clients until `stop` is set, then disconnects them.
pub(crate) async fn serve(
    listener: TcpListener,
    protocol: Protocol,
    shared: Arc<Shared>,
    clients: Arc<AtomicUsize>,
    mut stop: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
            _ = stop.wait_for(|is_set| *is_set) => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "client cannot be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Some(slot) = admit(&clients, &shared) else {
            drop(stream.set_zero_linger());
            continue;
        };
        let (shared, protocol) = (Arc::clone(&shared), protocol.clone());
        tasks.spawn(async move {
            serve_client(stream, protocol, &shared).await;
            drop(slot);
        });
    }
}

async fn serve_client(stream: TcpStream, protocol: Protocol, shared: &Arc<Shared>) {
    // Answers are small and the client is waiting.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match protocol {
        Protocol::Modbus(framing) => {
            serve_connection(Connection::Tcp(stream), framing, None, shared).await;
        }
        Protocol::Http { key } => http::serve_client(stream, key.as_deref(), shared).await,
    }
}

/// Counts a client while it is connected.
struct ClientSlot(Arc<AtomicUsize>);

impl Drop for ClientSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn admit(clients: &Arc<AtomicUsize>, shared: &Shared) -> Option<ClientSlot> {
    let present = clients.fetch_add(1, Ordering::AcqRel);
    let slot = ClientSlot(Arc::clone(clients));
    let (mut inner, now) = shared.present();
    (present < CLIENTS_MAX && inner.station.admits(present, now)).then_some(slot)
}
