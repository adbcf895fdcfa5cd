//! The same in a session: the last message goes in, its run answers.

use super::{
    super::error::{Error, Result},
    ask::{Ask, Place},
    refusal,
};
use crate::{
    app::App,
    bot::Bot,
    inject::{Input, inject},
    runner::stateless::Reply,
};
use std::sync::Arc;
use tercel_agent::Step;
use tercel_sdk::chat::Usage;
use tercel_store::Uuid;
use tokio::sync::broadcast::{self, error::RecvError};

/// Bytes of one message.
const MOST: usize = 1 << 20;

pub struct Placed {
    task: Uuid,
    commits: broadcast::Receiver<Uuid>,
}

pub async fn put(app: &Arc<App>, bot: &Bot, place: Place<'_>, ask: &Ask) -> Result<Placed> {
    super::super::has_room(app)?;
    if ask.has_tools() {
        return Err(Error::bad_request("tools: in a session only the tools of the bot are used; leave `tools` away"));
    }
    let content = ask.last()?;
    if content.len() > MOST {
        return Err(Error::too_large("messages: in a session one has at most 1 MB; longer texts are documents"));
    }
    if app.runs.is_backed_up(app).await {
        return Err(Error::unavailable("Too many runs are waiting: try again later"));
    }
    let session = match place {
        Place::Session(id) => {
            let missing = || Error::not_found(format!("There is no session {id}"));
            let session = app.store.session(id).await?.ok_or_else(missing)?;
            if session.bot_id != bot.id {
                let other = &session.bot_id;
                return Err(Error::bad_request(format!("model: the session belongs to the bot `{other}`")));
            }
            session.id
        }
        Place::ClientId(client_id) => {
            super::super::request::name("metadata.client_id", client_id, 255)?;
            let channel = app.catalog().channels.get(client_id).map(|channel| channel.id);
            app.store.open_session(client_id, &bot.id, "", channel, None).await?.0.id
        }
    };
    let commits = app.store.wake().steps.subscribe();
    let injected = inject(app, Input { run_agent: true, ..Input::new(session, content) }).await?;
    match injected.task_id {
        Some(task) => Ok(Placed { task, commits }),
        None => Err(Error::rate_limited(injected.reason.unwrap_or_else(|| "No run was started".into()), 60)),
    }
}

/// Waits for the end of the run.
pub async fn wait(app: &App, mut placed: Placed) -> Result<Reply> {
    loop {
        let task = app.store.task(placed.task).await?.ok_or_else(|| Error::internal("A task has gone"))?;
        let failure = || {
            let error = task.error.as_deref().and_then(|text| serde_json::from_str::<tercel_sdk::Error>(text).ok());
            error.unwrap_or_else(|| tercel_sdk::Error::new(tercel_sdk::Kind::Error, "The run failed"))
        };
        match task.status.as_str() {
            "complete" => {
                let usage = usage(app, placed.task).await?;
                return Ok(Reply { text: task.result.unwrap_or_default(), usage, ..Reply::default() });
            }
            "failed" => return Err(refusal::of_agent(failure())),
            "cancelled" => return Err(Error::conflict("The run was cancelled")),
            "waiting" => {
                let why = failure().message;
                return Err(Error::unavailable(format!("The run waits and goes on later in its session: {why}")));
            }
            _ => {}
        }
        loop {
            tokio::select! {
                commit = placed.commits.recv() => match commit {
                    Ok(task) if task != placed.task => {}
                    // Commits that were missed may have been of this task.
                    Ok(_) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return Err(Error::unavailable("The server is stopping")),
                },
                () = app.stopping.cancelled() => return Err(Error::unavailable("The server is stopping")),
            }
        }
    }
}

async fn usage(app: &App, task: Uuid) -> Result<Usage> {
    let mut sum = Usage::default();
    for row in app.store.steps(task, 0).await?.iter().filter(|row| row.kind == "model") {
        if let Ok(Step::Model { answer, .. }) = serde_json::from_str(&row.body) {
            sum.prompt_tokens += answer.usage.prompt_tokens;
            sum.completion_tokens += answer.usage.completion_tokens;
        }
    }
    Ok(sum)
}
