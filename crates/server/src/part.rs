//! Calling a part of an integration: it has its time, and its panics end here.

use futures::FutureExt;
use std::{any::Any, future::Future, panic::AssertUnwindSafe, time::Duration};
use tercel_sdk::{Error, Kind, Result};

/// How long one call of a part may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
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
            tool: Duration::from_secs(120),
            dispatcher: Duration::from_secs(60),
            connector: Duration::from_secs(20),
            hook: Duration::from_secs(10),
            route: Duration::from_secs(60),
        }
    }
}

/// What a part answers. `late` is what too long a silence means: `Timeout`, or `UnknownOutcome` where something may have
/// been changed. `what` begins the sentence that says what went wrong.
pub async fn within<T>(limit: Duration, what: &str, late: Kind, part: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(limit, AssertUnwindSafe(part).catch_unwind()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panic)) => {
            let kind = if late == Kind::UnknownOutcome { late } else { Kind::Error };
            Err(Error::new(kind, format!("{what} has a fault: it panicked ({})", words(&*panic)))
                .hint("This is an error in the program: please report it"))
        }
        Err(_) => Err(Error::new(late, format!("{what} took longer than {} seconds", limit.as_secs_f32()))),
    }
}

/// What a panic says.
pub fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| Some(panic.downcast_ref::<String>()?)).unwrap_or("without words")
}
