//! Whether a provider is asked at all: one that has just failed again and again is left alone for a while.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// As many failures in a row, within this time, open it.
const FAILURES: usize = 5;
const WITHIN: Duration = Duration::from_secs(60);
/// How long it stays open before one request may try.
const PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Breaker {
    /// Times of the failures since the last success.
    failures: VecDeque<Instant>,
    state: State,
}

#[derive(Debug, Default, Clone, Copy)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// One request is on its way to find out.
    Probing,
}

impl Breaker {
    /// # Errors
    /// How long to wait, when the provider is not to be asked now. Who may ask must report how it went.
    pub fn enter(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } if now >= until => {
                self.state = State::Probing;
                Ok(())
            }
            State::Open { until } => Err(until - now),
            // It may take minutes: who asks again each second would be told the same.
            State::Probing => Err(PAUSE),
        }
    }

    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub fn failed(&mut self, now: Instant) {
        self.failures.push_back(now);
        while self.failures.len() > FAILURES {
            self.failures.pop_front();
        }
        let is_row = self.failures.len() == FAILURES && now.duration_since(self.failures[0]) <= WITHIN;
        if is_row || matches!(self.state, State::Probing) {
            self.state = State::Open { until: now + PAUSE };
        }
    }

    /// Nobody knows how it went: somebody else may try.
    pub fn abandoned(&mut self, now: Instant) {
        if matches!(self.state, State::Probing) {
            self.state = State::Open { until: now };
        }
    }

    /// `closed`, `open` or `half_open`.
    pub fn name(&self, now: Instant) -> &'static str {
        match self.state {
            State::Closed => "closed",
            State::Open { until } if now < until => "open",
            State::Open { .. } | State::Probing => "half_open",
        }
    }

    /// Failures since the last success, of which the newest five are counted.
    pub fn failures(&self) -> usize {
        self.failures.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn opened(start: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for second in 0..5 {
            assert_eq!(breaker.enter(after(start, second)), Ok(()));
            breaker.failed(after(start, second));
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_within_a_minute_open_it_for_half_a_minute() {
        let start = Instant::now();
        let mut breaker = opened(start);
        assert_eq!(breaker.name(after(start, 4)), "open");
        assert_eq!(breaker.enter(after(start, 5)), Err(Duration::from_secs(29)));
        assert_eq!(breaker.name(after(start, 34)), "half_open");
    }

    #[test]
    fn a_success_in_between_and_slow_failures_keep_it_closed() {
        let start = Instant::now();
        let mut breaker = Breaker::default();
        (0..4).for_each(|second| breaker.failed(after(start, second)));
        breaker.succeeded();
        (4..8).for_each(|second| breaker.failed(after(start, second)));
        assert_eq!((breaker.name(after(start, 8)), breaker.failures()), ("closed", 4));
        let mut breaker = Breaker::default();
        (0..20).for_each(|n| breaker.failed(after(start, n * 16)));
        assert_eq!(breaker.name(after(start, 400)), "closed");
    }

    #[test]
    fn one_request_tries_and_decides() {
        let start = Instant::now();
        let mut breaker = opened(start);
        assert_eq!(breaker.enter(after(start, 34)), Ok(()));
        assert_eq!(breaker.enter(after(start, 34)), Err(PAUSE), "only one at a time, and nobody waits for it closely");
        breaker.failed(after(start, 35));
        assert_eq!(breaker.enter(after(start, 36)), Err(Duration::from_secs(29)));
        assert_eq!(breaker.enter(after(start, 65)), Ok(()));
        breaker.abandoned(after(start, 66));
        assert_eq!(breaker.enter(after(start, 66)), Ok(()), "the one that was given up decided nothing");
        breaker.succeeded();
        assert_eq!((breaker.name(after(start, 67)), breaker.failures()), ("closed", 0));
    }
}
