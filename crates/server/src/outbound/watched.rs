//! A way out of which is seen what was answered last.

use futures::future::BoxFuture;
use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};
use tercel_sdk::{
    Result,
    http::{Request, Response, Streaming, Transport},
};

pub struct Watched {
    pub transport: Arc<dyn Transport>,
    /// The status; 0 before there is one.
    pub last: Arc<AtomicU16>,
}

impl Transport for Watched {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            let answer = self.transport.send(request).await?;
            self.last.store(answer.status.as_u16(), Ordering::Relaxed);
            Ok(answer)
        })
    }

    fn stream(&self, request: Request) -> BoxFuture<'_, Result<Streaming>> {
        Box::pin(async move {
            let answer = self.transport.stream(request).await?;
            self.last.store(answer.status.as_u16(), Ordering::Relaxed);
            Ok(answer)
        })
    }
}
