//! Places where a test may end the process. Nothing is here unless the `failpoints` feature is on.

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    static POINT: OnceLock<(String, u64)> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    /// Takes `<name>:<n>`: the n-th time that `name` is reached, the process aborts.
    pub fn arm(spec: &str) {
        if let Some((name, n)) = spec.split_once(':')
            && let Ok(n) = n.parse()
        {
            POINT.get_or_init(|| (name.to_owned(), n));
        }
    }

    pub fn hit(name: &str) {
        if let Some((point, n)) = POINT.get()
            && point == name
            && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *n
        {
            std::process::abort();
        }
    }
}

#[cfg(feature = "failpoints")]
pub use armed::{arm, hit};

#[cfg(not(feature = "failpoints"))]
pub fn hit(_: &str) {}
