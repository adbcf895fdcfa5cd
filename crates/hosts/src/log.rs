//! What a process printed lately. Bounded, whatever it prints.

use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::io::{AsyncRead, AsyncReadExt};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Microseconds since 1970.
    pub at: i64,
    pub text: String,
}

const MOST_LINES: usize = 2_000;
const MOST_BYTES: usize = 256 << 10;
/// A longer line is cut.
const LONGEST: usize = 8 << 10;
/// What is kept of one second; a process that floods shall not wash away how it came to that.
const BYTES_A_SECOND: usize = 64 << 10;
const LEAST_A_SECOND: usize = 1 << 10;
/// What a line counts at least: many short ones wash away as much as few long ones.
const LEAST_A_LINE: usize = 128;
/// Lines that are kept of the end of a flood.
const TAIL: usize = 20;

/// The end of a log.
#[derive(Clone, Default)]
pub struct Ring(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Lines that there ever were.
    count: u64,
    second: Option<Instant>,
    in_second: usize,
    /// What is kept of this second: less in each that floods.
    room: usize,
    left_out: u64,
    /// Of earlier floods.
    lost: u64,
    /// The end of a flood: what comes last often says why.
    tail: VecDeque<LogLine>,
}

impl Ring {
    pub fn push(&self, text: &str) {
        self.lock().add(text);
    }

    pub fn lines(&self) -> Vec<LogLine> {
        let ring = self.lock();
        let mut lines: Vec<LogLine> = ring.lines.iter().cloned().collect();
        lines.extend(ring.flood());
        lines.extend(ring.tail.iter().cloned());
        lines
    }

    /// Lines that were printed too fast to be kept.
    pub fn lost(&self) -> u64 {
        let ring = self.lock();
        ring.lost + ring.left_out
    }

    /// A place in the log that [`since`](Self::since) begins at.
    pub fn mark(&self) -> u64 {
        self.lock().count
    }

    pub fn since(&self, mark: u64) -> Vec<String> {
        let ring = self.lock();
        let new = usize::try_from(ring.count - mark).unwrap_or(usize::MAX).min(ring.lines.len());
        let lines = ring.lines.iter().skip(ring.lines.len() - new);
        lines.chain(&ring.tail).map(|line| line.text.clone()).collect()
    }

    /// The last line that says something.
    pub fn last(&self) -> Option<String> {
        let ring = self.lock();
        ring.lines
            .iter()
            .chain(&ring.tail)
            .rev()
            .map(|line| line.text.trim())
            .find(|text| !text.is_empty())
            .map(str::to_owned)
    }

    /// Reads until the other side is closed. Whatever happens, it goes on reading: who writes must not be held up.
    pub async fn fill(self, mut source: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 64 << 10];
        let mut line = Vec::new();
        while let Ok(read @ 1..) = source.read(&mut buffer).await {
            let mut rest = &buffer[..read];
            // A flood of short lines would cost more to look at than to print.
            if let Some(end) = self.skip(rest) {
                line.clear();
                rest = &rest[end..];
            }
            for piece in rest.split_inclusive(|byte| *byte == b'\n') {
                let room = LONGEST.saturating_sub(line.len());
                line.extend_from_slice(&piece[..piece.len().min(room)]);
                if piece.ends_with(b"\n") {
                    self.push(String::from_utf8_lossy(&line).trim_end());
                    line.clear();
                }
            }
        }
        if !line.is_empty() {
            self.push(String::from_utf8_lossy(&line).trim_end());
        }
    }

    /// In the middle of a flood, all but the last lines of a piece are only counted. Where what is left begins.
    fn skip(&self, piece: &[u8]) -> Option<usize> {
        let mut ring = self.lock();
        if !ring.is_flooded() {
            return None;
        }
        let (end, _) = piece.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').nth(TAIL)?;
        ring.left_out += piece[..=end].iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        Some(end + 1)
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().expect("nothing panics while it holds a log")
    }
}

impl Lines {
    fn is_flooded(&self) -> bool {
        self.in_second > self.room && self.second.is_some_and(|begin| begin.elapsed() < Duration::from_secs(1))
    }

    fn add(&mut self, text: &str) {
        let moment = Instant::now();
        if self.second.is_none_or(|begin| moment - begin >= Duration::from_secs(1)) {
            if let Some(flood) = self.flood() {
                self.lost += std::mem::take(&mut self.left_out);
                self.keep(flood);
            }
            for line in std::mem::take(&mut self.tail) {
                self.keep(line);
            }
            let flooded = self.in_second > self.room && self.second.is_some();
            self.room = if flooded { (self.room / 2).max(LEAST_A_SECOND) } else { BYTES_A_SECOND };
            self.second = Some(moment);
            self.in_second = 0;
        }
        self.in_second += (text.len() + 1).max(LEAST_A_LINE);
        let line = LogLine { at: now(), text: text.to_owned() };
        if self.in_second <= self.room {
            self.keep(line);
            return;
        }
        self.tail.push_back(line);
        if self.tail.len() > TAIL {
            self.tail.pop_front();
            self.left_out += 1;
        }
    }

    fn keep(&mut self, line: LogLine) {
        self.bytes += line.text.len();
        self.count += 1;
        self.lines.push_back(line);
        while self.lines.len() > MOST_LINES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }

    fn flood(&self) -> Option<LogLine> {
        let text = || format!("… {} lines more, printed too fast to be kept", self.left_out);
        (self.left_out > 0).then(|| LogLine { at: now(), text: text() })
    }
}

/// In microseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ring: &Ring) -> Vec<String> {
        ring.lines().into_iter().map(|line| line.text).collect()
    }

    #[tokio::test]
    async fn lines_are_kept_in_order_and_bytes_that_are_no_text_replaced() {
        let ring = Ring::default();
        ring.clone().fill(&b"one\ntwo\r\n\xff\nlast"[..]).await;
        assert_eq!(texts(&ring), ["one", "two", "\u{fffd}", "last"]);
        assert_eq!(ring.last().as_deref(), Some("last"));
    }

    #[tokio::test]
    async fn a_flood_is_counted_and_what_came_before_it_kept() {
        let ring = Ring::default();
        ring.push("how it began");
        let flood = "x".repeat(99) + "\n";
        ring.clone().fill(format!("{}and how it ended\n", flood.repeat(100_000)).as_bytes()).await;
        let lines = texts(&ring);
        assert_eq!(lines[0], "how it began");
        assert!(lines.len() < 1_000, "{}", lines.len());
        let kept = lines.len() - 2;
        assert!(lines.contains(&format!("… {} lines more, printed too fast to be kept", 100_001 - kept)));
        assert_eq!(ring.last().as_deref(), Some("and how it ended"));
        assert_eq!(ring.lost(), 100_001 - kept as u64);
    }

    #[tokio::test]
    async fn short_lines_wash_away_no_more_than_long_ones() {
        let ring = Ring::default();
        ring.push("how it began");
        ring.clone().fill("y\n".repeat(500_000).as_bytes()).await;
        assert_eq!(texts(&ring)[0], "how it began");
        assert!(texts(&ring).len() < 1_000, "{}", texts(&ring).len());
    }

    #[tokio::test]
    async fn a_line_without_end_takes_no_more_than_its_room() {
        let ring = Ring::default();
        ring.clone().fill("y".repeat(10 << 20).as_bytes()).await;
        assert_eq!(texts(&ring), ["y".repeat(LONGEST)]);
    }

    #[test]
    fn a_mark_tells_new_lines_from_old_ones() {
        let ring = Ring::default();
        ring.push("old");
        let mark = ring.mark();
        ring.push("new");
        assert_eq!(ring.since(mark), ["new"]);
        assert_eq!(ring.since(ring.mark()), [] as [&str; 0]);
    }
}
