//! Calling a tool that the client of a conversation has: it is asked over the stream and answers by a request.

use super::prepare::Prepared;
use crate::{app::App, live::Request};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tercel_agent::Planned;
use tercel_sdk::{Error, Kind, Result};

/// How long a client is waited for unless it says otherwise, in seconds.
pub const USUAL_WAIT: u64 = 120;

/// After a crash the call is asked for again, by the same id.
pub async fn run(app: &Arc<App>, prepared: &Prepared, asked: &Planned) -> Result<Value> {
    let seconds = prepared.config.client_tool_seconds.unwrap_or(USUAL_WAIT);
    let request =
        Request { call_id: asked.call_id.clone(), name: asked.name.clone(), arguments: asked.arguments.clone() };
    let mut requested = prepared.feed.request(request);
    let answer = tokio::time::timeout(Duration::from_secs(seconds), &mut requested.answer).await;
    let late = || {
        let message = format!("The client did not answer the call of `{}` within {seconds} seconds", asked.name);
        // It may be at work still.
        Error::new(Kind::UnknownOutcome, message)
    };
    let answer = answer.ok().and_then(std::result::Result::ok).unwrap_or_else(|| Err(late()));
    let catalog = app.catalog();
    answer.map(|value| catalog.redactor.json(value)).map_err(|error| catalog.redactor.error(error))
}
