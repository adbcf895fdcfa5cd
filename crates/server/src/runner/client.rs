//! Tools that the client of a conversation has: it is asked over the stream and answers by a request. A run that waits for
//! it gives its session up, and goes on when the answer is there or the time is over.

use super::{calling::Calling, log::Log, prepare::Prepared};
use crate::{app::App, queue::patiently};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tercel_agent::{Committed, Planned, Step, ToolOutput};
use tercel_sdk::{Error, Kind, Result};
use tercel_store::{ClientCall, now};

/// How long a client is waited for unless it says otherwise, in seconds.
pub const USUAL_WAIT: u64 = 120;
/// Between two looks at what waits too long, at the most and at the least.
const PAUSE: Duration = Duration::from_secs(60);
const LEAST: Duration = Duration::from_millis(50);

/// Takes up what the client has answered. Answers the calls that it is still waited for.
pub async fn take(
    app: &Arc<App>,
    prepared: &mut Prepared,
    log: &mut Log,
    calls: Vec<Planned>,
) -> tercel_store::Result<Vec<ClientCall>> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let known = patiently("Reading the calls of a client", || app.store.client_calls(prepared.task.id)).await?;
    let calling = Calling { app, ids: &prepared.ids, stop: &prepared.stop };
    let seconds = prepared.config.client_tool_seconds.unwrap_or(USUAL_WAIT);
    let (time, mut open, mut done) = (now(), Vec::new(), Vec::new());
    for call in calls {
        let Some(asked) = known.iter().find(|asked| asked.call_id == call.call_id) else {
            calling.begins(&prepared.run, &call, "client");
            open.push(ClientCall {
                session_id: prepared.session.id,
                call_id: call.call_id,
                name: call.name,
                arguments: app.catalog().redactor.json(call.arguments).to_string(),
                answer: None,
                asked_at: time,
                expires_at: time + seconds as i64 * 1_000_000,
            });
            continue;
        };
        let result = match &asked.answer {
            Some(answer) => serde_json::from_str::<Result<Value>>(answer)?,
            None if asked.expires_at <= time => Err(late(asked)),
            None => {
                open.push(asked.clone());
                continue;
            }
        };
        let duration_ms = (time - asked.asked_at).max(0).unsigned_abs() / 1000;
        calling.has_ended(&call, duration_ms);
        let output = ToolOutput::of(result).untrusted();
        let Planned { call_id, name, arguments, .. } = call;
        let step = Step::Tool { call_id: call_id.clone(), name, arguments, output, duration_ms };
        log.add(&step)?;
        log.is_answered(call_id);
        done.push(Committed { attempt: prepared.run.attempt, step });
    }
    prepared.run.steps.extend(done);
    log.flush(app, &prepared.session.client_id).await?;
    Ok(open)
}

/// What a run says that waits for these calls.
pub fn waits(open: &[ClientCall]) -> Error {
    let names: Vec<String> = open.iter().map(|call| format!("`{}`", call.name)).collect();
    let message = format!("The run waits for its client to answer {}", names.join(", "));
    Error::new(Kind::Error, message).hint("POST /chat/tool_result answers it")
}

/// Sends on the runs whose clients do not answer, until the server stops.
pub async fn watch(app: Arc<App>) {
    tokio::select! {
        () = app.hold.released() => {}
        () = app.stopping.cancelled() => return,
    }
    loop {
        let pause = match app.store.expire_client_calls().await {
            Ok(Some(next)) => Duration::from_micros((next - now()).max(0).unsigned_abs()).clamp(LEAST, PAUSE),
            Ok(None) => PAUSE,
            Err(error) => {
                tracing::error!("Runs that wait for their clients cannot go on: {error}");
                PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = app.runs.asked.notified() => {}
            () = app.stopping.cancelled() => return,
        }
    }
}

fn late(call: &ClientCall) -> Error {
    let seconds = (call.expires_at - call.asked_at) / 1_000_000;
    let message = format!("The client did not answer the call of `{}` within {seconds} seconds", call.name);
    tracing::warn!("{message}");
    // It may be at work still.
    Error::new(Kind::UnknownOutcome, message)
}
