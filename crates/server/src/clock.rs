//! The clock on the wall, which somebody may set, beside one that only goes forward.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Tells the time, in microseconds since 1970.
pub type Wall = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How long one sleep is at the most: after it the wall is looked at again.
const NAP: Duration = Duration::from_secs(10);
/// A clock that goes back by less was only corrected.
pub const SET_BACK: i64 = 1_000_000;

pub struct Clock {
    read: Wall,
    /// When it was last looked at.
    wall: i64,
    steady: Instant,
}

impl Clock {
    pub fn of(read: Wall) -> Self {
        Self { wall: read(), steady: Instant::now(), read }
    }

    pub fn now(&self) -> i64 {
        (self.read)()
    }

    /// Since it was last looked at: how much further the wall went than time did, in microseconds. A machine that slept
    /// has a wall that went on.
    pub fn jump(&mut self) -> i64 {
        let now = Self::of(self.read.clone());
        let before = std::mem::replace(self, now);
        let passed = i64::try_from(before.steady.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.wall - before.wall - passed
    }

    pub fn was_set_back(&mut self) -> bool {
        self.jump() < -SET_BACK
    }

    /// Sleeps until the wall says that it is so late, for ever without a time. Ends early, and answers true, when it is
    /// put back.
    pub async fn sleep_until(&mut self, at: Option<i64>) -> bool {
        let Some(at) = at else { std::future::pending().await };
        loop {
            let left = Duration::from_micros((at - self.now()).max(0).unsigned_abs());
            tokio::time::sleep(left.min(NAP)).await;
            let set_back = self.was_set_back();
            if set_back || left <= NAP {
                return set_back;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercel_store::now;

    #[tokio::test]
    async fn a_sleeper_notices_within_ten_seconds_that_the_clock_was_put_forward() {
        let ahead = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let wall = ahead.clone();
        let mut clock = Clock::of(Arc::new(move || now() + wall.load(std::sync::atomic::Ordering::SeqCst)));
        let asleep = Instant::now();
        let due = Some(clock.now() + 3_600_000_000);
        let put_forward = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ahead.store(7_200_000_000, std::sync::atomic::Ordering::SeqCst);
        };
        let (was_set_back, ()) = tokio::join!(clock.sleep_until(due), put_forward);
        assert!(!was_set_back && asleep.elapsed() < 3 * NAP, "{:?}", asleep.elapsed());
    }

    #[tokio::test]
    async fn a_sleeper_notices_that_the_clock_was_put_back() {
        let mut clock = Clock::of(Arc::new(now));
        assert!(!clock.was_set_back());
        clock.wall += 60_000_000;
        assert!(clock.was_set_back());
        clock.wall += 60_000_000;
        assert!(clock.sleep_until(Some(now())).await);
        assert!(!clock.sleep_until(Some(now())).await);
    }
}
