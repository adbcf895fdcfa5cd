//! How often a process ended by itself, and how long it rests for that.

use super::Times;
use std::time::{Duration, Instant};

/// So many ends one after the other, and it is left alone.
const MOST: u32 = 5;

#[derive(Debug, Default)]
pub struct Crashes {
    count: u32,
    last: Option<Instant>,
}

impl Crashes {
    /// It ended after this time.
    pub fn add(&mut self, lasted: Duration, times: &Times) {
        if lasted >= times.steady {
            self.count = 0;
        }
        self.count += 1;
        self.last = Some(Instant::now());
    }

    pub fn are_too_many(&self) -> bool {
        self.count >= MOST
    }

    /// How long still.
    pub fn rest(&self, times: &Times) -> Option<Duration> {
        let doublings = self.count.checked_sub(1)?;
        let rest = times.rest * 2_u32.saturating_pow(doublings);
        rest.checked_sub(self.last?.elapsed()).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_twice_as_long_each_time_and_is_left_alone_in_the_end() {
        let (times, mut crashes, mut rests) = (Times::default(), Crashes::default(), Vec::new());
        assert_eq!(crashes.rest(&times), None);
        while !crashes.are_too_many() {
            crashes.add(Duration::from_secs(3), &times);
            rests.push(crashes.rest(&times).map_or(0, |rest| rest.as_secs() + 1));
        }
        assert_eq!(rests, [1, 2, 4, 8, 16]);
    }

    #[test]
    fn what_ran_for_long_is_no_crash_loop() {
        let (times, mut crashes) = (Times::default(), Crashes::default());
        for _ in 0..20 {
            crashes.add(times.steady, &times);
        }
        assert!(!crashes.are_too_many());
    }
}
