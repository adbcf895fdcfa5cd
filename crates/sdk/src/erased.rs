//! The seam between the host and a part, whatever the part is written in: JSON and bytes in, JSON out.

use crate::{Error, FromHost, Host, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{future::Future, sync::Arc};

/// What a part is called with.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub json: Value,
    pub blobs: Vec<Bytes>,
}

impl From<Value> for Call {
    fn from(json: Value) -> Self {
        Self { json, blobs: Vec::new() }
    }
}

/// A part as the host sees it.
pub type Handler = Arc<dyn Fn(Host, Call) -> BoxFuture<'static, Result<Value>> + Send + Sync>;

/// Erases a typed function of one argument.
pub fn erase<H, A, T, F, Fut>(function: F) -> Handler
where
    H: FromHost,
    A: DeserializeOwned + Send + 'static,
    T: Serialize,
    F: Fn(H, A) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    Arc::new(move |host, call| {
        let function = function.clone();
        Box::pin(async move {
            let argument = serde_json::from_value(call.json).map_err(|e| Error::schema(e.to_string()))?;
            let answer = function(H::from_host(&host)?, argument).await?;
            Ok(serde_json::to_value(answer)?)
        })
    })
}
