//! How often a worker failed lately, and how long it rests for that.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Failures that are longer ago do not count.
const LATELY: Duration = Duration::from_secs(600);
/// So many, and it is said to be failing.
const MANY: usize = 4;
const LONGEST_REST: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Failures(VecDeque<Instant>);

impl Failures {
    pub fn add(&mut self) {
        let now = Instant::now();
        self.0.retain(|at| now - *at < LATELY);
        self.0.push_back(now);
    }

    pub fn is_failing(&self) -> bool {
        self.recent() >= MANY
    }

    /// How long still: nothing after the first failure, then 1, 2, 4 … seconds.
    pub fn rest(&self) -> Option<Duration> {
        let number = u32::try_from(self.recent()).ok()?.checked_sub(2)?;
        let rest = Duration::from_secs(1 << number.min(6)).min(LONGEST_REST);
        rest.checked_sub(self.0.back()?.elapsed()).filter(|rest| !rest.is_zero())
    }

    fn recent(&self) -> usize {
        self.0.iter().filter(|at| at.elapsed() < LATELY).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_longer_each_time() {
        let mut failures = Failures::default();
        let mut rests = Vec::new();
        for _ in 0..10 {
            failures.add();
            rests.push(failures.rest().map_or(0, |rest| rest.as_secs() + 1));
        }
        assert_eq!(rests, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(failures.is_failing());
    }
}
