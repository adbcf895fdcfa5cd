//! Runs the tool calls of one turn, side by side; each result is committed when it is there.

use super::{
    log::Log,
    prepare::{Prepared, context_of},
};
use crate::app::{App, Call};
use futures::{StreamExt, stream::FuturesUnordered};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tercel_agent::{Action, Committed, Planned, Step, ToolOutput};
use tercel_sdk::{Error, Host, Kind, Mode, Result, Tool, Trust, hook};
use tercel_store::Task;
use tokio_util::sync::CancellationToken;

pub const LIMIT: Duration = Duration::from_secs(120);

pub async fn run_all(
    app: &Arc<App>,
    task: &Task,
    prepared: &mut Prepared,
    log: &mut Log,
    calls: Vec<Planned>,
    cancel: &CancellationToken,
) -> tercel_store::Result<()> {
    let mut done = Vec::with_capacity(calls.len());
    {
        let prepared = &*prepared;
        let mut running: FuturesUnordered<_> =
            calls.into_iter().map(|call| step_of(app, task, prepared, call, cancel)).collect();
        while let Some(step) = running.next().await {
            log.add(&step)?;
            log.flush(app, task, &prepared.session.client_id).await?;
            done.push(Committed { attempt: task.attempt as u32, step });
        }
    }
    prepared.run.steps.extend(done);
    Ok(())
}

async fn step_of(app: &Arc<App>, task: &Task, prepared: &Prepared, call: Planned, cancel: &CancellationToken) -> Step {
    let began = Instant::now();
    let output = match call.action {
        Action::Say(output) => output,
        Action::Run => {
            let ids = &prepared.ids;
            let iteration = prepared.run.steps.iter().filter(|c| matches!(c.step, Step::Model { .. })).count() as u32;
            crate::hooks::fire(app, ids, || hook::BeforeToolExecution {
                context: context_of(ids),
                tool_name: call.name.clone(),
                tool_type: "local".into(),
                args: call.arguments.clone(),
                iteration,
            });
            // What a service answers was written by whoever can write there.
            let output =
                ToolOutput::of(run(app, task, prepared, &call.call_id, &call.name, &call.arguments, cancel).await)
                    .untrusted();
            crate::hooks::fire(app, ids, || hook::AfterToolCall {
                context: context_of(ids),
                tool_name: call.name.clone(),
                tool_args: call.arguments.clone(),
                duration_ms: began.elapsed().as_millis() as u64,
            });
            output
        }
    };
    let duration_ms = began.elapsed().as_millis() as u64;
    Step::Tool { call_id: call.call_id, name: call.name, arguments: call.arguments, output, duration_ms }
}

async fn run(
    app: &Arc<App>,
    task: &Task,
    prepared: &Prepared,
    call_id: &str,
    name: &str,
    arguments: &Value,
    cancel: &CancellationToken,
) -> Result<Value> {
    let _room = app.runs.steps.acquire().await.expect("the semaphore is never closed");
    let catalog = app.catalog();
    let gone = || Error::new(Kind::NotFound, format!("The tool `{name}` is not there any more"));
    let owned = catalog.tools.get(name).ok_or_else(gone)?;
    let call = Call {
        ids: prepared.ids.clone(),
        mode: if task.rehearse { Mode::Rehearse } else { Mode::Live },
        trust: if prepared.run.tainted { Trust::Untrusted } else { Trust::Trusted },
        idempotency_key: Some(format!("{}/{call_id}", task.id)),
        timeout: Some(LIMIT),
        cancel: cancel.clone(),
    };
    let host = app.host(&owned.integration, crate::catalog::DEFAULT, call).ok_or_else(gone)?;
    execute(&owned.tool, host, arguments.clone()).await
}

/// Calls a tool with arguments that were checked.
pub async fn execute(tool: &Tool, host: Host, arguments: Value) -> Result<Value> {
    let late = || {
        let kind = if tool.may_repeat() { Kind::Timeout } else { Kind::UnknownOutcome };
        Error::new(kind, format!("The tool took longer than {} seconds", LIMIT.as_secs()))
    };
    // On a task of its own: a tool that panics hurts this call only.
    let running = tokio::spawn((tool.handler)(host, arguments.into()));
    let _stop = AbortOnDrop(running.abort_handle());
    match tokio::time::timeout(LIMIT, running).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(Error::new(Kind::Error, format!("The tool `{}` has a fault: it panicked", tool.name))),
        Err(_) => Err(late()),
    }
}

/// A run that is cancelled takes its tools with it.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
