//! Answers that may be large: history, energy, lists of devices.
//!
//! Few are built at once, because each takes a processor and as much memory as its limit allows. A
//! built answer is kept until its reader has taken it, and readers may be slow; all kept answers
//! share one memory budget, and a reader that takes too long is cut off. Writing and compressing
//! JSON happens off the threads that serve requests.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::error::ApiError;
use super::gzip::{gzip, is_accepted};
use crate::limits::{
    ANSWER_PIECE_BYTES, ANSWER_SEND_TIME, ANSWERS_KEPT_BYTES_MAX, ANSWERS_MADE_MAX,
    COMPRESSED_BYTES_MIN,
};

/// Up to this size the better level of compression is worth its time, about 10 ms.
const BETTER_LEVEL_BYTES_MAX: usize = 512 * 1024;

/// Turns to build an answer, and memory for built answers.
#[derive(Debug)]
pub(crate) struct Answers {
    turns: Arc<Semaphore>,
    /// In pieces.
    room: Arc<Semaphore>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(ANSWERS_MADE_MAX)),
            room: Arc::new(Semaphore::new(ANSWERS_KEPT_BYTES_MAX / ANSWER_PIECE_BYTES)),
        }
    }
}

/// A turn to build an answer.
pub(super) struct Turn {
    _turn: OwnedSemaphorePermit,
    room: Arc<Semaphore>,
    takes_gzip: bool,
}

impl Answers {
    /// Waits for a turn; call it before anything is read for the answer.
    pub(super) async fn turn(&self, request: &HeaderMap) -> Result<Turn, ApiError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        Ok(Turn {
            _turn: turn.map_err(|_| ApiError::busy())?,
            room: Arc::clone(&self.room),
            takes_gzip: is_accepted(request),
        })
    }
}

impl Turn {
    /// Converts a value to JSON; releases the turn once there is memory to keep the answer.
    pub(super) async fn answer<T: Serialize + Send + 'static>(
        self,
        value: T,
    ) -> Result<Response, ApiError> {
        let takes_gzip = self.takes_gzip;
        let made = tokio::task::spawn_blocking(move || make(&value, takes_gzip)).await;
        let (bytes, is_gzip) = made
            .map_err(|error| ApiError::internal(error.into()))?
            .map_err(|error| ApiError::internal(error.into()))?;
        let length = bytes.len();
        let body = if length <= ANSWER_PIECE_BYTES {
            // No larger than a connection's own buffers, so it does not count.
            Body::from(bytes)
        } else {
            let pieces = u32::try_from(length.div_ceil(ANSWER_PIECE_BYTES)).unwrap_or(u32::MAX);
            let room = self.room.acquire_many_owned(pieces).await;
            kept(bytes.into(), room.map_err(|_| ApiError::busy())?)
        };
        let mut response = body.into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        Ok(response)
    }
}

fn make(value: &impl Serialize, takes_gzip: bool) -> serde_json::Result<(Vec<u8>, bool)> {
    let bytes = serde_json::to_vec(value)?;
    if !takes_gzip || bytes.len() < COMPRESSED_BYTES_MIN {
        return Ok((bytes, false));
    }
    let level = if bytes.len() <= BETTER_LEVEL_BYTES_MAX { 6 } else { 1 };
    Ok((gzip(&bytes, level), true))
}

/// The unsent rest of an answer, and its permits.
type Rest = Arc<Mutex<Option<(Bytes, OwnedSemaphorePermit)>>>;

/// Returns a body that holds its permits until its last piece is taken or its time is over.
fn kept(bytes: Bytes, room: OwnedSemaphorePermit) -> Body {
    let time = send_time(bytes.len());
    let rest: Rest = Arc::new(Mutex::new(Some((bytes, room))));
    let late = Arc::clone(&rest);
    // A task of its own, because a connection whose reader takes nothing never polls the stream.
    let task = tokio::spawn(async move {
        tokio::time::sleep(time).await;
        take_all(&late);
    });
    let pieces = stream::unfold((UnsentBody { rest, task }, false), |(kept, is_over)| async move {
        if is_over {
            return None;
        }
        let (piece, is_last) = next_piece(&kept.rest);
        Some((piece, (kept, is_last)))
    });
    Body::from_stream(pieces)
}

/// Returns the time to send an answer: what a reader of 64 KiB/s needs, and a margin to begin.
fn send_time(length: usize) -> Duration {
    let pieces = u32::try_from(length / ANSWER_PIECE_BYTES).unwrap_or(u32::MAX);
    ANSWER_SEND_TIME + pieces * Duration::from_secs(1)
}

fn next_piece(rest: &Rest) -> (io::Result<Bytes>, bool) {
    let mut held = rest.lock().unwrap_or_else(PoisonError::into_inner);
    let Some((bytes, _)) = held.as_mut() else {
        return (Err(io::ErrorKind::TimedOut.into()), true);
    };
    let piece = bytes.split_to(ANSWER_PIECE_BYTES.min(bytes.len()));
    let is_last = bytes.is_empty();
    if is_last {
        *held = None;
    }
    // Copied: a slice would keep the whole answer in memory after its permits are released.
    (Ok(Bytes::copy_from_slice(&piece)), is_last)
}

fn take_all(rest: &Rest) {
    rest.lock().unwrap_or_else(PoisonError::into_inner).take();
}

/// What a body holds, and the task that cuts it off.
struct UnsentBody {
    rest: Rest,
    task: JoinHandle<()>,
}

impl Drop for UnsentBody {
    fn drop(&mut self) {
        take_all(&self.rest);
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use axum::body::to_bytes;
    use futures_util::{FutureExt as _, StreamExt as _};

    use super::*;

    fn answers(pieces: usize) -> Answers {
        Answers { turns: Arc::new(Semaphore::new(1)), room: Arc::new(Semaphore::new(pieces)) }
    }

    async fn answer(answers: &Answers) -> Response {
        let text = "x".repeat(2 * ANSWER_PIECE_BYTES);
        answers.turn(&HeaderMap::new()).await.unwrap().answer(text).await.unwrap()
    }

    #[tokio::test]
    async fn what_readers_do_not_take_stays_within_the_room() {
        let answers = answers(7);
        // Two pieces and two quotation marks each.
        let (first, second) = (answer(&answers).await, answer(&answers).await);
        let mut third = pin!(answer(&answers));
        for _ in 0..100 {
            assert!(third.as_mut().now_or_never().is_none(), "there is room for two");
            tokio::task::yield_now().await;
        }
        let length = first.headers()[header::CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
        let bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!((bytes.len(), bytes.len()), (length, 2 * ANSWER_PIECE_BYTES + 2));
        let third = third.await;
        // A reader that disconnects releases its permits, too.
        drop((second, third));
        assert_eq!(answers.room.available_permits(), 7);
    }

    #[tokio::test]
    async fn reader_that_is_late_is_cut_off() {
        let room = Arc::new(Semaphore::new(2));
        let permit = Arc::clone(&room).acquire_many_owned(2).await.unwrap();
        let rest: Rest = Arc::new(Mutex::new(Some((vec![1; 100_000].into(), permit))));
        assert_eq!(next_piece(&rest).0.unwrap().len(), ANSWER_PIECE_BYTES);
        take_all(&rest);
        assert_eq!(room.available_permits(), 2);
        let (piece, is_last) = next_piece(&rest);
        assert!(piece.is_err() && is_last);
    }

    #[tokio::test]
    async fn body_ends_after_its_last_piece() {
        let room = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let mut pieces = kept(vec![1; ANSWER_PIECE_BYTES + 1].into(), room).into_data_stream();
        let mut lengths = Vec::new();
        while let Some(piece) = pieces.next().await {
            lengths.push(piece.unwrap().len());
        }
        assert_eq!(lengths, [ANSWER_PIECE_BYTES, 1]);
    }
}
