//! The same in a session: the last message goes in, its run answers.

use super::{
    super::{
        error::{Error, Result},
        follow::{Follower, Seen},
    },
    Said,
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
use tercel_store::{StepRow, Task, Uuid};
use tokio::sync::mpsc::UnboundedSender;

/// Bytes of one message.
const MOST: usize = 1 << 20;

/// Answers the task.
pub async fn put(app: &Arc<App>, bot: &Bot, place: Place<'_>, ask: &Ask) -> Result<Uuid> {
    super::super::has_room(app)?;
    if ask.has_tools() {
        return Err(Error::bad_request("tools: in a session only the tools of the bot are used; leave `tools` away"));
    }
    let wanted = ask.wanted_in_session()?;
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
    let injected = inject(app, Input { run_agent: true, wanted, ..Input::new(session, content) }).await?;
    injected
        .task_id
        .ok_or_else(|| Error::rate_limited(injected.reason.unwrap_or_else(|| "No run was started".into()), 60))
}

/// Passes on what the run says, as it comes for a `stream`, and last how it ended. The run goes on when nobody listens any
/// more.
pub async fn watch(app: Arc<App>, task: Uuid, listener: UnboundedSender<Said>, stream: bool) {
    let mut follower = Follower::new(app, task, 0, false);
    let mut telling = Telling { listener, stream, texts: Vec::new(), now: String::new() };
    let mut reply = Reply::default();
    while let Some(seen) = follower.next().await {
        let is_fine = match seen {
            Seen::Text { text, reset, .. } => telling.take(text, reset),
            Seen::Step(row) => {
                count(&row, &mut reply);
                telling.settle(&row)
            }
            Seen::Over(task) => {
                let said = ended(*task, Reply { text: telling.texts.join("\n\n"), ..reply });
                return telling.end(said);
            }
            Seen::Thinking { .. } | Seen::Request(_) => true,
        };
        if !is_fine {
            let message = format!("The answer broke off and was begun anew: it will be in its session (task {task})");
            return telling.end(Err(Error::bad_gateway(message)));
        }
        if telling.listener.is_closed() {
            return;
        }
    }
    telling.end(Err(Error::unavailable("The server is stopping: the answer will be in its session")));
}

/// What was told cannot be taken back. To who gets the whole at its end, nothing is told before.
struct Telling {
    listener: UnboundedSender<Said>,
    stream: bool,
    /// What earlier steps said.
    texts: Vec<String>,
    /// What this one has said.
    now: String,
}

impl Telling {
    /// Answers whether it goes with what was told before.
    fn take(&mut self, text: String, reset: bool) -> bool {
        let more = match reset {
            false => text,
            true if !self.stream => {
                self.now.clear();
                text
            }
            true => match text.strip_prefix(self.now.as_str()) {
                Some(more) => more.to_owned(),
                None => return false,
            },
        };
        if !more.is_empty() {
            let gap = if self.now.is_empty() && !self.texts.is_empty() { "\n\n" } else { "" };
            if self.stream {
                let _ = self.listener.send(Said::Text(format!("{gap}{more}")));
            }
            self.now.push_str(&more);
        }
        true
    }

    /// The answer of a step is over; one that failed must not have been told.
    fn settle(&mut self, row: &StepRow) -> bool {
        match row.kind.as_str() {
            "model" => {
                if !self.now.is_empty() {
                    self.texts.push(std::mem::take(&mut self.now));
                }
                true
            }
            "model_failed" if !self.stream => {
                self.now.clear();
                true
            }
            "model_failed" => self.now.is_empty(),
            _ => true,
        }
    }

    fn end(self, said: Result<Reply>) {
        let _ = self.listener.send(Said::End(said));
    }
}

fn count(row: &StepRow, reply: &mut Reply) {
    if row.kind == "model"
        && let Ok(Step::Model { answer, .. }) = serde_json::from_str(&row.body)
    {
        reply.usage += answer.usage;
        reply.truncated = answer.truncated;
    }
}

fn ended(task: Task, reply: Reply) -> Result<Reply> {
    let failure = || {
        let error = task.error.as_deref().and_then(|text| serde_json::from_str::<tercel_sdk::Error>(text).ok());
        error.unwrap_or_else(|| tercel_sdk::Error::new(tercel_sdk::Kind::Error, "The run failed"))
    };
    match task.status.as_str() {
        "complete" => Ok(reply),
        "cancelled" => Err(Error::conflict("The run was cancelled")),
        "waiting" => {
            let why = failure().message;
            Err(Error::unavailable(format!("The run waits and goes on later in its session: {why}")))
        }
        _ => Err(refusal::of_agent(failure())),
    }
}
