//! A way out of which is seen what was answered.

use futures::future::BoxFuture;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU16, Ordering},
};
use tercel_sdk::{
    Result,
    http::{Request, Response, Streaming, Transport},
};

/// What services answered to a call.
#[derive(Default)]
pub struct Seen {
    status: AtomicU16,
    changed: AtomicBool,
}

impl Seen {
    /// Of the last answer.
    pub fn status(&self) -> Option<u16> {
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status > 0)
    }

    /// What is done cannot be seen: something may have been changed.
    pub fn unseen(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Whether something may have been changed there.
    pub fn has_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }
}

pub struct Watched {
    pub transport: Arc<dyn Transport>,
    pub seen: Arc<Seen>,
}

impl Watched {
    /// What is refused because of who asks has changed nothing; of what is not answered nobody knows.
    fn note<T>(&self, is_safe: bool, answer: &Result<T>, status: impl FnOnce(&T) -> u16) {
        let status = answer.as_ref().map_or(0, status);
        if status > 0 {
            self.seen.status.store(status, Ordering::Relaxed);
        }
        if !is_safe && status != 401 {
            self.seen.changed.store(true, Ordering::Relaxed);
        }
    }
}

impl Transport for Watched {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            let is_safe = request.method.is_safe();
            let answer = self.transport.send(request).await;
            self.note(is_safe, &answer, |answer| answer.status.as_u16());
            answer
        })
    }

    fn stream(&self, request: Request) -> BoxFuture<'_, Result<Streaming>> {
        Box::pin(async move {
            let is_safe = request.method.is_safe();
            let answer = self.transport.stream(request).await;
            self.note(is_safe, &answer, |answer| answer.status.as_u16());
            answer
        })
    }
}
