//! Bodies of requests that nobody vouches for yet: how long they may take, and how much memory they may have.

use bytes::Bytes;
use futures::{Stream, StreamExt, poll};
use http::{HeaderMap, header::CONTENT_LENGTH};
use std::{
    fmt::Display,
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
    time::Duration,
};

/// Until all of a body is there.
const TIME: Duration = Duration::from_secs(30);
/// Bytes that every body has to itself: hardly a webhook has more, so that large ones keep none of those out.
const SMALL: usize = 256 << 10;
/// Bytes that all have together beyond that.
const ROOM: usize = 128 << 20;

/// What large bodies take while they are read.
pub struct Bodies {
    time: Duration,
    room: usize,
    taken: AtomicUsize,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { time: TIME, room: ROOM, taken: AtomicUsize::new(0) }
    }
}

/// A body that was read to its end.
pub struct Whole<'b> {
    pub bytes: Bytes,
    pub room: Room<'b>,
}

/// What one body takes of the room of all, until this is dropped.
pub struct Room<'b> {
    bodies: &'b Bodies,
    bytes: usize,
}

/// Why there is no body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    #[error("The body did not come within {0} seconds: nothing was stored")]
    Late(u64),
    #[error("Too many large bodies are coming at once: nothing was stored")]
    Full,
    #[error("The body is too large")]
    TooLarge,
    #[error("The body could not be read: {0}")]
    Broken(String),
}

/// How many bytes the sender says that it has.
pub fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Bodies {
    /// Reads a body of at most so many bytes.
    pub async fn read<E: Display>(
        &self,
        headers: &HeaderMap,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        most: usize,
    ) -> Result<Whole<'_>, Unread> {
        let length = length(headers);
        if length.is_some_and(|length| length > most) {
            return Err(Unread::TooLarge);
        }
        let mut reading = pin!(self.gather(body, length.unwrap_or_default(), most));
        // What is there already needs no clock.
        if let Poll::Ready(read) = poll!(reading.as_mut()) {
            return read;
        }
        tokio::time::timeout(self.time, reading).await.unwrap_or(Err(Unread::Late(self.time.as_secs())))
    }

    async fn gather<E: Display>(
        &self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
        announced: usize,
        most: usize,
    ) -> Result<Whole<'_>, Unread> {
        let mut room = Room { bodies: self, bytes: 0 };
        let (mut first, mut whole, mut size) = (Bytes::new(), Vec::<u8>::new(), 0);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Unread::Broken(error.to_string()))?;
            size += piece.len();
            if size > most {
                return Err(Unread::TooLarge);
            }
            room.hold(size, most)?;
            // What comes in one piece is not copied.
            if size == piece.len() {
                first = piece;
                continue;
            }
            if whole.capacity() < size {
                // Much that was only announced takes no memory.
                let expected = if size > SMALL { announced } else { announced.min(SMALL) };
                whole.try_reserve(expected.max(size) - whole.len()).map_err(|_| Unread::Full)?;
            }
            // A piece may hold a larger buffer of its connection: it is copied, not kept.
            whole.extend_from_slice(&std::mem::take(&mut first));
            whole.extend_from_slice(&piece);
        }
        let bytes = if whole.is_empty() { first } else { whole.into() };
        Ok(Whole { bytes, room })
    }
}

impl Room<'_> {
    /// Makes it large enough for that size.
    fn hold(&mut self, size: usize, most: usize) -> Result<(), Unread> {
        let more = size.saturating_sub(SMALL) - self.bytes;
        if more == 0 {
            return Ok(());
        }
        self.bytes += more;
        let taken = self.bodies.taken.fetch_add(more, Ordering::Relaxed) + more;
        // Alone, the largest that is taken has room.
        if taken > self.bodies.room.max(most) { Err(Unread::Full) } else { Ok(()) }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.bodies.taken.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::{iter, pending};
    use http::HeaderValue;
    use std::convert::Infallible;

    const MOST: usize = 2 * SMALL;

    fn bodies() -> Bodies {
        Bodies { time: Duration::from_millis(20), room: MOST, taken: AtomicUsize::new(0) }
    }

    fn pieces(sizes: &[usize]) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin + use<> {
        let piece = |(n, size): (usize, &usize)| Ok(Bytes::from(vec![n as u8; *size]));
        iter(sizes.iter().enumerate().map(piece).collect::<Vec<Result<Bytes, Infallible>>>())
    }

    fn announced(length: usize) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(length))])
    }

    #[tokio::test]
    async fn a_body_is_whole_in_however_many_pieces_it_comes() {
        let all: [&[usize]; 7] = [&[], &[0], &[5], &[0, 5], &[3, 0, 4], &[SMALL, 1, 2], &[1, SMALL, SMALL - 1]];
        for sizes in all {
            let expected: Vec<u8> = sizes.iter().enumerate().flat_map(|(n, size)| vec![n as u8; *size]).collect();
            for headers in [HeaderMap::new(), announced(expected.len())] {
                let bodies = bodies();
                let whole = bodies.read(&headers, pieces(sizes), MOST).await;
                assert!(whole.is_ok_and(|whole| whole.bytes == expected), "{sizes:?}");
                assert_eq!(bodies.taken.load(Ordering::Relaxed), 0, "it is given back");
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_or_is_too_large_is_given_up() {
        let (bodies, none) = (bodies(), HeaderMap::new());
        let late = bodies.read(&none, pieces(&[SMALL, 5]).chain(pending()), MOST).await.err();
        assert_eq!(late, Some(Unread::Late(0)));
        let large = bodies.read(&none, pieces(&[MOST, 1]), MOST).await.err();
        assert_eq!(large, Some(Unread::TooLarge));
        let large = bodies.read(&announced(MOST + 1), pieces(&[]).chain(pending()), MOST).await.err();
        assert_eq!(large, Some(Unread::TooLarge));
        assert_eq!(bodies.taken.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_large_bodies_take_together_is_bounded_and_small_ones_do_not_ask() {
        let (bodies, none) = (bodies(), HeaderMap::new());
        let read = |size| bodies.read(&none, pieces(&[size]), MOST);
        let first = read(MOST).await.unwrap_or_else(|unread| panic!("{unread}"));
        let _second = read(MOST).await.unwrap_or_else(|unread| panic!("{unread}"));
        assert_eq!(read(SMALL + 1).await.err(), Some(Unread::Full));
        assert!(read(SMALL).await.is_ok());
        drop(first);
        assert!(read(MOST).await.is_ok());
    }
}
