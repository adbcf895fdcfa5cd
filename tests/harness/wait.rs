//! Waiting for something that happens elsewhere: short looks, and an end.

use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(10);

/// Looks again and again until there is something to see.
///
/// # Panics
/// When there is nothing after [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, probe)
}

#[track_caller]
pub fn until_within<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = probe() {
            return seen;
        }
        assert!(start.elapsed() < patience, "not seen within {patience:?}: {what}");
        pause(Duration::from_millis(10));
    }
}

/// Between two looks.
#[expect(clippy::disallowed_methods, reason = "tests are threads of their own, which no runtime waits for")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
