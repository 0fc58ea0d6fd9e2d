//! Reads consecutive HTTP/1.1 answers from one connection.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Longest accepted answer.
const ANSWER_MAX: usize = 64 * 1024;

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Retry-After`, if it is given in seconds.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// The receiving half of a connection.
pub(crate) struct Answers<R> {
    stream: R,
    received: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Answers<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// Waits until the next answer is complete, and returns it.
    pub(crate) async fn next(&mut self) -> Result<Answer> {
        loop {
            if let Some((answer, length)) = parse(&self.received)? {
                self.received.drain(..length);
                return Ok(answer);
            }
            if self.received.len() > ANSWER_MAX {
                return Err(Error::new(ErrorKind::InvalidData, "answer is too long"));
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Returns the first answer in `bytes` and its length, if it is complete.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>> {
    let bad = |what| Error::new(ErrorKind::InvalidData, what);
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("head is not text"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let header = |name: &str| {
        let mut headers = head.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let length = header("content-length").map_or(Ok(0), str::parse);
    let length: usize = length.map_err(|_| bad("length is not a number"))?;
    let whole = (end + 4).saturating_add(length);
    if whole > ANSWER_MAX {
        return Err(bad("answer is too long"));
    }
    if bytes.len() < whole {
        return Ok(None);
    }
    let answer = Answer {
        status: status.ok_or_else(|| bad("answer has no status"))?,
        retry_after: header("retry-after")
            .and_then(|value| value.parse::<u32>().ok())
            .map(|seconds| Duration::from_secs(seconds.into())),
        body: bytes[end + 4..whole].to_vec(),
    };
    Ok(Some((answer, whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_come_one_by_one_however_the_bytes_come() {
        let wire: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc\
            HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\r\nHTTP/1.1 204";
        for piece in [1, 7, wire.len()] {
            let (mut far, near) = tokio::io::duplex(piece);
            let send = async move {
                tokio::io::AsyncWriteExt::write_all(&mut far, wire).await.unwrap();
            };
            let receive = async move {
                let mut answers = Answers::new(near);
                let first = answers.next().await.unwrap();
                assert_eq!((first.status, &first.body[..]), (200, &b"abc"[..]));
                assert_eq!(first.retry_after, None);
                let second = answers.next().await.unwrap();
                assert_eq!(
                    (second.status, second.retry_after),
                    (503, Some(Duration::from_secs(2)))
                );
                assert_eq!(answers.next().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
            };
            tokio::join!(send, receive);
        }
    }
}
