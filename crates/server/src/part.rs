//! Calling a part of an integration: it has its time and a thread of its own, and its panics end here.

use futures::FutureExt;
use std::{
    any::Any,
    collections::HashMap,
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};
use tercel_sdk::{Error, Kind, Result};
use tokio_util::sync::CancellationToken;

/// How long one call of a part may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub webhook: Duration,
    pub tool: Duration,
    pub dispatcher: Duration,
    pub connector: Duration,
    pub hook: Duration,
    /// Until the answer of a route begins, and until that of a webhook ends.
    pub route: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            webhook: Duration::from_secs(10),
            tool: Duration::from_secs(120),
            dispatcher: Duration::from_secs(60),
            connector: Duration::from_secs(20),
            hook: Duration::from_secs(10),
            route: Duration::from_secs(60),
        }
    }
}

/// Calls of one part that may be left behind at work; then it is not called any more.
const MOST_LEFT: usize = 8;

/// Calls that nobody waits for any more and that have not come back, by what was called. Threads belong to the process,
/// and so does this.
static LEFT: LazyLock<Mutex<HashMap<String, usize>>> = LazyLock::new(Mutex::default);

/// What a part answers. `late` is what too long a silence means: `Timeout`, or `UnknownOutcome` where something may have
/// been changed. `what` names the part and begins the sentence that says what went wrong.
///
/// The part works on a thread that it can keep: one that computes for ever cannot be stopped, only left behind.
pub async fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    late: Kind,
    part: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    if left().get(what).is_some_and(|count| *count >= MOST_LEFT) {
        let message = format!("{what} is not called: {MOST_LEFT} earlier calls of it have not come back");
        return Err(Error::new(Kind::Network, message)
            .hint("It computes without an end: mend the integration, then start the server anew"));
    }
    let (call, stop) = (Call::begin(what), CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    let (runtime, end) = (tokio::runtime::Handle::current(), call.end());
    let part = async move {
        tokio::select! {
            biased;
            () = stop.cancelled_owned() => None,
            answer = AssertUnwindSafe(part).catch_unwind() => Some(answer),
        }
    };
    let working = tokio::task::spawn_blocking(move || {
        let _end = end;
        runtime.block_on(part)
    });
    match tokio::time::timeout(limit, working).await {
        Ok(Ok(Some(Ok(answer)))) => answer,
        Ok(Ok(Some(Err(panic)))) => {
            let kind = if late == Kind::UnknownOutcome { late } else { Kind::Error };
            Err(Error::new(kind, format!("{what} has a fault: it panicked ({})", words(&*panic)))
                .hint("This is an error in the program: please report it"))
        }
        Ok(Ok(None) | Err(_)) => Err(Error::new(late, format!("{what} was stopped"))),
        Err(_) => Err(Error::new(late, format!("{what} took longer than {} seconds", limit.as_secs_f32()))),
    }
}

fn left() -> MutexGuard<'static, HashMap<String, usize>> {
    LEFT.lock().expect("no holder of this lock panics")
}

const AT_WORK: u8 = 0;
const ENDED: u8 = 1;
const LEFT_BEHIND: u8 = 2;

/// The side of a call that waits for its end.
struct Call {
    what: String,
    state: Arc<AtomicU8>,
}

/// The side that works.
struct End {
    what: String,
    state: Arc<AtomicU8>,
}

impl Call {
    fn begin(what: &str) -> Self {
        Self { what: what.into(), state: Arc::default() }
    }

    fn end(&self) -> End {
        End { what: self.what.clone(), state: self.state.clone() }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut left = left();
        if self.state.compare_exchange(AT_WORK, LEFT_BEHIND, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            *left.entry(self.what.clone()).or_default() += 1;
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut left = left();
        if self.state.swap(ENDED, Ordering::SeqCst) == LEFT_BEHIND
            && let Some(count) = left.get_mut(&self.what)
        {
            *count = count.saturating_sub(1);
            left.retain(|_, count| *count > 0);
        }
    }
}

/// What a panic says.
pub fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| Some(panic.downcast_ref::<String>()?)).unwrap_or("without words")
}
