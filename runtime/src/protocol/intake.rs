use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use warp::http::StatusCode;

use super::{ApiError, MAX_BODY};

/// Bytes that the bodies of all requests under way may hold together.
const ROOM: usize = 128 << 20;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that are still read of a body that is refused: a client that is cut off while it sends never sees the answer.
const COURTESY: u64 = 256 << 20;
/// Bodies up to this size are read where they arrived; larger ones would hold up others.
const SMALL: usize = 256 << 10;

/// Takes bodies in, each bounded in size and time, all of them bounded in memory.
#[derive(Clone, Debug)]
pub struct Intake {
    room: Arc<Semaphore>,
    patience: Duration,
    /// Large bodies that are read at once.
    readers: Arc<Semaphore>,
}

impl Default for Intake {
    fn default() -> Self {
        Self::new(ROOM, PATIENCE)
    }
}

/// A body; the room it takes is free again when it is dropped.
#[derive(Debug)]
pub struct Body {
    bytes: BytesMut,
    room: Room,
}

/// Room that the body of a request takes until it is answered.
#[derive(Debug, Default)]
pub struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    fn take(&mut self, more: OwnedSemaphorePermit) {
        match &mut self.0 {
            Some(room) => room.merge(more),
            None => self.0 = Some(more),
        }
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Intake {
    /// An intake for `room` bytes in all, each body within `patience`.
    #[must_use]
    pub fn new(room: usize, patience: Duration) -> Self {
        Self {
            room: Arc::new(Semaphore::new(room)),
            patience,
            readers: Arc::new(Semaphore::new(
                available_parallelism().map_or(1, std::num::NonZero::get),
            )),
        }
    }

    /// Room for a body of `count` bytes that a transport has taken in by itself.
    ///
    /// # Errors
    /// 429, where the requests under way hold all there is.
    pub fn room(&self, count: usize) -> Result<Room, ApiError> {
        self.claim(count).map(|room| Room(Some(room)))
    }

    /// Runs `job`, which reads a body of `size` bytes: here where that is quick, else away from the threads that serve, and
    /// as many at a time as there are processors.
    ///
    /// # Errors
    /// Those of the job.
    pub async fn reading<T: Send + 'static>(
        &self,
        size: usize,
        job: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        if size <= SMALL {
            job()
        } else {
            self.aside(job).await
        }
    }

    /// Runs `job` away from the threads that serve, and as many at a time as there are processors.
    ///
    /// # Errors
    /// Those of the job; 500 where it crashed.
    pub async fn aside<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let crashed = || ApiError::internal("the request could not be read: see the log of this server");
        let turn = Arc::clone(&self.readers)
            .acquire_owned()
            .await
            .map_err(|_| crashed())?;
        // The turn lasts as long as the job, also where nobody waits for it any more.
        let job = move || {
            let _turn = turn;
            job()
        };
        tokio::task::spawn_blocking(job).await.map_err(|_| crashed())?
    }

    /// Reads a body of [`MAX_BODY`] bytes at most. Of one that is larger nothing is kept; it is read on for a while, so that
    /// its sender hears why.
    pub async fn read<B: Buf>(
        &self,
        announced: Option<u64>,
        stream: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Body, ApiError> {
        let mut stream = std::pin::pin!(stream);
        let too_large = announced.is_some_and(|length| length > MAX_BODY);
        if !too_large {
            match timeout(self.patience, self.gather(stream.as_mut())).await {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(Refusal::TooLarge)) => {}
                Ok(Err(Refusal::Other(error))) => return Err(error),
                Err(_) => {
                    return Err(ApiError::new(
                        StatusCode::REQUEST_TIMEOUT,
                        format!(
                            "body: it did not arrive within {:?}; send it faster or in parts",
                            self.patience
                        ),
                    ));
                }
            }
        }
        // However slowly the rest of it comes, it is too large.
        self.pass_by(stream).await;
        Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("body: at most {MAX_BODY} bytes are taken; send fewer images in a request"),
        ))
    }

    /// Lets a body that is refused go by and keeps nothing of it, so that its sender hears why, and its connection can be used on.
    pub async fn pass_by<B: Buf>(&self, stream: impl Stream<Item = Result<B, warp::Error>>) {
        let _ = timeout(self.patience, hear_out(std::pin::pin!(stream))).await;
    }

    async fn gather<B: Buf>(
        &self,
        mut stream: Pin<&mut impl Stream<Item = Result<B, warp::Error>>>,
    ) -> Result<Body, Refusal> {
        let mut body = Body {
            bytes: BytesMut::new(),
            room: Room::default(),
        };
        while let Some(chunk) = stream.next().await {
            let broken = |e| Refusal::Other(ApiError::malformed(format!("body: it broke off: {e}")));
            let mut chunk = chunk.map_err(broken)?;
            let count = chunk.remaining();
            if (body.bytes.len() + count) as u64 > MAX_BODY {
                return Err(Refusal::TooLarge);
            }
            body.room.take(self.claim(count).map_err(Refusal::Other)?);
            body.bytes.extend_from_slice(&chunk.copy_to_bytes(count));
        }
        Ok(body)
    }

    fn claim(&self, count: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        u32::try_from(count)
            .ok()
            .and_then(|count| Arc::clone(&self.room).try_acquire_many_owned(count).ok())
            .ok_or_else(|| {
                ApiError::busy("the requests under way hold as many bytes as are taken: send again later")
            })
    }
}

impl Body {
    /// Its bytes, and the room that they take until the request is answered.
    #[must_use]
    pub fn into_parts(self) -> (bytes::Bytes, Room) {
        (self.bytes.freeze(), self.room)
    }
}

/// Why a body is not taken.
enum Refusal {
    TooLarge,
    Other(ApiError),
}

/// Lets the rest of a body go by, within bounds.
async fn hear_out<B: Buf>(mut rest: Pin<&mut impl Stream<Item = Result<B, warp::Error>>>) {
    let mut left = COURTESY;
    while left > 0
        && let Some(Ok(chunk)) = rest.next().await
    {
        left = left.saturating_sub(chunk.remaining() as u64);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;

    use super::*;

    fn chunks(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, warp::Error>> + use<> {
        stream::iter(
            sizes
                .iter()
                .map(|&n| Ok(Bytes::from(vec![7; n])))
                .collect::<Vec<_>>(),
        )
    }

    #[tokio::test]
    async fn bodies_share_the_room_and_give_it_back() {
        let intake = Intake::new(100, PATIENCE);
        let first = intake.read(None, chunks(&[30, 30])).await.unwrap();
        assert_eq!(first.len(), 60);
        let busy = intake.read(None, chunks(&[30, 30])).await.unwrap_err();
        assert_eq!(busy.status, StatusCode::TOO_MANY_REQUESTS);
        drop(first);
        assert!(
            intake.read(None, chunks(&[50, 50])).await.is_ok(),
            "what was refused holds nothing"
        );
    }

    #[tokio::test]
    async fn a_body_that_never_ends_is_given_up() {
        let intake = Intake::new(100, Duration::from_millis(20));
        let late = intake.read(None, chunks(&[1]).chain(stream::pending())).await;
        assert_eq!(late.unwrap_err().status, StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn a_large_body_is_refused_before_or_while_it_is_read() {
        let intake = Intake::default();
        let announced = intake.read(Some(MAX_BODY + 1), chunks(&[1]));
        assert_eq!(announced.await.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
        let half = MAX_BODY as usize / 2 + 1;
        let mut body = chunks(&[half, half, half, half]);
        let streamed = intake.read(None, &mut body).await;
        assert_eq!(streamed.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(body.next().await.is_none(), "the sender is heard out");
    }

    #[tokio::test]
    async fn a_large_body_that_comes_slowly_is_too_large_and_not_late() {
        let intake = Intake::new(100, Duration::from_millis(20));
        let slow = chunks(&[1]).chain(stream::pending());
        let refused = intake.read(Some(MAX_BODY + 1), slow).await;
        assert_eq!(refused.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_body_that_passes_by_takes_no_room_and_has_an_end() {
        let intake = Intake::new(100, Duration::from_millis(20));
        let mut body = chunks(&[60, 60]);
        let held = intake.room(100).unwrap();
        intake.pass_by(&mut body).await;
        assert!(body.next().await.is_none(), "all of it went by");
        intake.pass_by(chunks(&[1]).chain(stream::pending())).await;
        drop(held);
    }

    #[tokio::test]
    async fn a_refused_body_is_not_read_for_ever() {
        let unending = stream::repeat_with(|| Ok::<_, warp::Error>(Bytes::from(vec![7; 1 << 20])));
        let refused = Intake::default().read(None, unending).await;
        assert_eq!(refused.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
