//! A load of sealed messages over keep-alive connections, each answered before the next is sent.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::answers::{Answer, Answers};

/// Longest pause that a server may ask for between two tries of a message, and most tries: a
/// device's quota is refilled within minutes.
const PAUSE_MAX: Duration = Duration::from_secs(300);
const TRIES_MAX: u32 = 100;

/// Result of one run.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) elapsed: Duration,
    /// Answered 200.
    pub(crate) accepted: u64,
    /// Answered 503, as an overloaded server should.
    pub(crate) turned_away: u64,
    /// Answered 429, as for a device over its quota, and sent again when the server asked. The
    /// pauses are part of `elapsed`.
    pub(crate) over_quota: u64,
    /// Latencies of the accepted messages, ascending: from when a message was due, even if the
    /// previous one was not yet answered; without a pace, or after a pause, from sending.
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

/// Sends the messages of each connection in order, at a total `rate` of messages per second if
/// given.
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
        // Connections start spread over one interval, so that they do not send in step.
        let offset = pace.map(|pace| pace.mul_f64(index as f64 / 64.0 % 1.0));
        tasks.spawn(connection(address, messages, pace, offset));
    }
    let mut run = Run::default();
    while let Some(done) = tasks.join_next().await {
        let part = done.context("a connection's task")??;
        run.accepted += part.accepted;
        run.turned_away += part.turned_away;
        run.over_quota += part.over_quota;
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
        let mut since = None;
        if let Some(pace) = pace {
            tokio::time::sleep_until(due).await;
            since = Some(due);
            due += pace;
        }
        let request = request(&address, &message);
        for tried in 1.. {
            let start = since.take().unwrap_or_else(instant);
            sender.write_all(&request).await.context("sending")?;
            match answers.next().await.context("receiving")? {
                Answer { status: 200, .. } => {
                    run.accepted += 1;
                    run.latencies.push(start.elapsed());
                    break;
                }
                Answer { status: 503, .. } => {
                    run.turned_away += 1;
                    break;
                }
                Answer { status: 429, retry_after: Some(pause), .. } => {
                    ensure!(pause <= PAUSE_MAX, "the server asks for a pause of {pause:?}");
                    ensure!(tried < TRIES_MAX, "a message was rejected {tried} times");
                    run.over_quota += 1;
                    tokio::time::sleep(pause).await;
                }
                Answer { status, .. } => bail!("the server answered {status}"),
            }
        }
    }
    Ok(run)
}

/// An HTTP request with a message.
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    /// Answers messages of three bytes on one connection.
    async fn answer(answers: &[&str]) -> (Result<Run>, usize) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let length = request(&address, b"abc").len();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut received, mut given) = (vec![0; length], 0);
            while stream.read_exact(&mut received).await.is_ok() {
                assert!(received.ends_with(b"abc"));
                stream.write_all(answers[given].as_bytes()).await.unwrap();
                given += 1;
            }
            given
        };
        tokio::join!(send(&address, vec![vec![b"abc".to_vec(); 2]], None), server)
    }

    #[tokio::test]
    async fn message_of_a_device_beyond_its_share_comes_again_when_the_server_says() {
        let wait = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
        let taken = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        let (run, given) = answer(&[taken, wait, wait, taken]).await;
        let run = run.unwrap();
        assert_eq!((given, run.accepted, run.over_quota, run.turned_away), (4, 2, 2, 0));
        assert!(run.elapsed >= Duration::from_secs(2), "{:?}", run.elapsed);
        assert!(run.quantile(1.0) < Duration::from_secs(1), "pauses are not latency");

        let no_time = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
        assert!(answer(&[no_time]).await.0.is_err());
        let for_ever = wait.replace("retry-after: 1", "retry-after: 99999");
        assert!(answer(&[&for_ever]).await.0.is_err());
    }
}
