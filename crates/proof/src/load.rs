//! A load of sealed messages over keep-alive connections, each answered before the next is sent.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::answers::Answers;

/// What one run of load brought.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) elapsed: Duration,
    /// Answered 200.
    pub(crate) accepted: u64,
    /// Answered 503, as an overloaded server should.
    pub(crate) turned_away: u64,
    /// Time from sending to answer, of the accepted ones, ascending.
    pub(crate) latencies: Vec<Duration>,
}

impl Run {
    pub(crate) fn rate(&self) -> f64 {
        self.accepted as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that `share` of the accepted messages stayed below.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place")]
        let place = (self.latencies.len() as f64 * share) as usize;
        self.latencies
            .get(place.min(self.latencies.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

/// Sends the messages of each connection in order, at `rate` messages a second in all if given.
pub(crate) async fn send(
    address: &str,
    connections: Vec<Vec<Vec<u8>>>,
    rate: Option<f64>,
) -> Result<Run> {
    let pace = rate.map(|rate| Duration::from_secs_f64(connections.len() as f64 / rate));
    let start = instant();
    let mut tasks = tokio::task::JoinSet::new();
    for (index, messages) in connections.into_iter().enumerate() {
        let address = address.to_owned();
        // Connections begin spread over one interval, so that they do not send in step.
        let offset = pace.map(|pace| pace.mul_f64(index as f64 / 64.0 % 1.0));
        tasks.spawn(connection(address, messages, pace, offset));
    }
    let mut run = Run::default();
    while let Some(done) = tasks.join_next().await {
        let part = done.context("a connection's task")??;
        run.accepted += part.accepted;
        run.turned_away += part.turned_away;
        run.latencies.extend(part.latencies);
    }
    run.elapsed = start.elapsed();
    run.latencies.sort_unstable();
    Ok(run)
}

async fn connection(
    address: String,
    messages: Vec<Vec<u8>>,
    pace: Option<Duration>,
    offset: Option<Duration>,
) -> Result<Run> {
    let mut stream = TcpStream::connect(&address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let (receiver, mut sender) = stream.split();
    let mut answers = Answers::new(receiver);
    let mut run = Run::default();
    let mut due = instant() + offset.unwrap_or_default();
    for message in messages {
        if let Some(pace) = pace {
            tokio::time::sleep_until(due).await;
            due += pace;
        }
        let request = request(&address, &message);
        let start = instant();
        sender.write_all(&request).await.context("sending")?;
        match answers.next().await.context("receiving")?.status {
            200 => {
                run.accepted += 1;
                run.latencies.push(start.elapsed());
            }
            503 => run.turned_away += 1,
            other => bail!("the server answered {other}"),
        }
    }
    Ok(run)
}

/// A message as the link takes it.
pub(crate) fn request(address: &str, message: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /link HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/cose\r\n\
         content-length: {}\r\n\r\n",
        message.len()
    )
    .into_bytes();
    request.extend_from_slice(message);
    request
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
pub(crate) fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}
