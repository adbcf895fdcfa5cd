//! Places where a test may end the process, or make a fault. Nothing is here unless the `failpoints` feature is on.

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    static POINT: OnceLock<(String, u64, fn())> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    /// Takes `<name>:<n>`: the n-th time that `name` is reached, the process aborts. With `<name>!<n>` it panics.
    pub fn arm(spec: &str) {
        let abort: fn() = || std::process::abort();
        let panic: fn() = || panic!("a test makes a fault here");
        let armed = spec.split_once(':').map(|parts| (parts, abort));
        let armed = armed.or_else(|| spec.split_once('!').map(|parts| (parts, panic)));
        if let Some(((name, n), fail)) = armed
            && let Ok(n) = n.parse()
        {
            POINT.get_or_init(|| (name.to_owned(), n, fail));
        }
    }

    pub fn hit(name: &str) {
        if let Some((point, n, fail)) = POINT.get()
            && point == name
            && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *n
        {
            fail();
        }
    }
}

#[cfg(feature = "failpoints")]
pub use armed::{arm, hit};

#[cfg(not(feature = "failpoints"))]
pub fn hit(_: &str) {}
