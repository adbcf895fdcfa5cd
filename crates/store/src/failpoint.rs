//! Places where a test may end the process, or make a fault. Nothing is here unless the `failpoints` feature is on.

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` is for tests: nothing that is released may have it");

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };

    static POINT: OnceLock<(String, u64, fn())> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);
    static COUNTS: AtomicBool = AtomicBool::new(true);

    /// Takes `<name>:<n>`: the n-th time that `name` is reached, the process aborts. With `<name>!<n>` it panics. `+<n>`
    /// counts from where the server can be reached.
    pub fn arm(spec: &str) {
        let abort: fn() = || std::process::abort();
        let panic: fn() = || panic!("a test makes a fault here");
        let armed = spec.split_once(':').map(|parts| (parts, abort));
        let armed = armed.or_else(|| spec.split_once('!').map(|parts| (parts, panic)));
        if let Some(((name, n), fail)) = armed
            && let Ok(number) = n.parse()
        {
            COUNTS.store(!n.starts_with('+'), Ordering::SeqCst);
            POINT.get_or_init(|| (name.to_owned(), number, fail));
        }
    }

    /// The server can be reached from now on.
    pub fn reachable() {
        COUNTS.store(true, Ordering::SeqCst);
    }

    pub fn hit(name: &str) {
        if let Some((point, n, fail)) = POINT.get()
            && point == name
            && COUNTS.load(Ordering::SeqCst)
            && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *n
        {
            fail();
        }
    }
}

#[cfg(feature = "failpoints")]
pub use armed::{arm, hit, reachable};

#[cfg(not(feature = "failpoints"))]
pub fn hit(_: &str) {}
