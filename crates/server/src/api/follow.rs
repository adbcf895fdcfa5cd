//! Following a task: its committed steps, and between them what it says right now.
//!
//! Steps come first: an answer is shown live only after everything before it, and no more once it is among the steps.

use crate::{
    app::App,
    live::{Feed, Now},
};
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};
use tercel_store::{StepRow, Task, Uuid};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

const OVER: [&str; 4] = ["complete", "failed", "cancelled", "waiting"];

/// What there is to see of a task.
pub enum Seen {
    Step(StepRow),
    /// A piece of an answer. With `reset`, what was shown of it before is void, and this stands in its place.
    Text {
        text: String,
        reset: bool,
        /// It stands in the step that comes next.
        is_committed: bool,
    },
    /// A piece of what a model thinks before it answers. With `reset`, what was shown of it before is void.
    Thinking {
        text: String,
        reset: bool,
    },
    /// A call that waits for the client.
    Request(Request),
    /// It has ended, or waits for a person.
    Over(Box<Task>),
}

/// A call of a tool that the client has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    call_id: String,
    name: String,
    arguments: Value,
}

pub struct Follower {
    app: Arc<App>,
    task: Uuid,
    /// The last step that was seen.
    after: i64,
    /// How many steps there are for certain. The first one is committed together with the second.
    caught_up: i64,
    commits: broadcast::Receiver<Uuid>,
    now: watch::Receiver<Now>,
    /// Kept, so that who begins to work on the task later finds this one.
    _feed: Arc<Feed>,
    begun: bool,
    over: bool,
    ready: VecDeque<Seen>,
    shown: Shown,
    requested: HashSet<String>,
}

/// What was shown of the answer that comes.
#[derive(Default)]
struct Shown {
    take: u64,
    text: String,
    thinking: usize,
    /// Somebody may have seen more of it than we know.
    is_doubtful: bool,
    /// The same of the thoughts.
    is_thought_doubtful: bool,
}

impl Follower {
    /// `resumed`: the client has seen something already.
    pub fn new(app: Arc<App>, task: Uuid, after: i64, resumed: bool) -> Self {
        // Before the first reading, so that no commit comes between that and the waiting.
        let commits = app.store.wake().steps.subscribe();
        let feed = app.live.feed(task);
        Self {
            task,
            after,
            caught_up: 0,
            commits,
            now: feed.watch(),
            _feed: feed,
            begun: false,
            over: false,
            ready: VecDeque::new(),
            shown: Shown { is_doubtful: resumed, is_thought_doubtful: resumed, ..Shown::default() },
            requested: HashSet::new(),
            app,
        }
    }

    /// What comes next; nothing after the end of the task, or when the server stops.
    pub async fn next(&mut self) -> Option<Seen> {
        loop {
            if let Some(seen) = self.ready.pop_front() {
                return Some(seen);
            }
            if self.over {
                return None;
            }
            if let Err(error) = self.advance().await? {
                tracing::warn!(task.id = %self.task, "A stream of a task ends early: {error}");
                return None;
            }
        }
    }

    /// Waits for something new and takes it. `None` when the server stops.
    async fn advance(&mut self) -> Option<tercel_store::Result<()>> {
        if !std::mem::replace(&mut self.begun, true) {
            return Some(self.read().await);
        }
        tokio::select! {
            commit = self.commits.recv() => match commit {
                Ok(task) if task != self.task => Some(Ok(())),
                // Commits that were missed may have been of this task.
                Ok(_) | Err(RecvError::Lagged(_)) => Some(self.read().await),
                Err(RecvError::Closed) => None,
            },
            changed = self.now.changed() => match changed {
                Ok(()) => Some(self.look().await),
                Err(_) => None,
            },
            () = self.app.stopping.cancelled() => None,
        }
    }

    /// What was committed.
    async fn read(&mut self) -> tercel_store::Result<()> {
        // First the status: a task that is over then has no steps later.
        let task = self.app.store.task(self.task).await?;
        for row in self.app.store.steps(self.task, self.after).await? {
            self.after = row.n;
            self.settle(&row);
            self.ready.push_back(Seen::Step(row));
        }
        let task = task.filter(|task| OVER.contains(&task.status.as_str()));
        if let Some(task) = task
            && !(task.status == "waiting" && self.waits_for_client().await?)
        {
            self.over = true;
            self.ready.push_back(Seen::Over(Box::new(task)));
        }
        Ok(())
    }

    /// Whether it is the client that the task waits for. Shows what it is asked.
    async fn waits_for_client(&mut self) -> tercel_store::Result<bool> {
        let calls = self.app.store.client_calls(self.task).await?;
        let is_open = !calls.is_empty();
        for call in calls.into_iter().filter(|call| call.answer.is_none()) {
            if self.requested.insert(call.call_id.clone()) {
                let arguments = super::json(Some(&call.arguments));
                let request = Request { call_id: call.call_id, name: call.name, arguments };
                self.ready.push_back(Seen::Request(request));
            }
        }
        Ok(is_open)
    }

    /// What was thought before an answer that was committed sooner than we looked. Nothing else keeps it.
    fn think(&mut self, row: &StepRow) {
        let (now, shown) = (self.now.borrow(), &mut self.shown);
        if now.base + 1 != row.n {
            return;
        }
        let is_void = now.take != shown.take && shown.thinking > 0;
        let seen = if now.take == shown.take { shown.thinking } else { 0 };
        if let Some(more) = now.thinking.get(seen..).filter(|more| !more.is_empty()) {
            let reset = is_void || shown.is_thought_doubtful;
            self.ready.push_back(Seen::Thinking { text: more.to_owned(), reset });
        }
    }

    /// Puts right what was shown of an answer that is now committed, or failed.
    fn settle(&mut self, row: &StepRow) {
        let text = match row.kind.as_str() {
            "model" => {
                self.think(row);
                let body: Value = serde_json::from_str(&row.body).unwrap_or_default();
                body["answer"]["text"].as_str().unwrap_or_default().to_owned()
            }
            "model_failed" => String::new(),
            _ => return,
        };
        let was_shown = std::mem::take(&mut self.shown.text);
        let is_doubtful = self.shown.is_doubtful;
        let piece = match text.strip_prefix(&was_shown).filter(|_| !is_doubtful) {
            Some("") => None,
            // It was committed before its last piece was looked at.
            Some(more) => Some((more.to_owned(), false)),
            None if !is_doubtful && was_shown.trim_end() == text.trim_end() => None,
            None => Some((text, true)),
        };
        if let Some((text, reset)) = piece {
            self.ready.push_back(Seen::Text { text, reset, is_committed: true });
        }
        self.shown.is_doubtful = false;
        let has_thought = std::mem::take(&mut self.shown.thinking) > 0 || self.shown.is_thought_doubtful;
        self.shown.is_thought_doubtful = has_thought && row.kind == "model_failed";
    }

    /// What is said right now.
    async fn look(&mut self) -> tercel_store::Result<()> {
        let base = self.now.borrow().base;
        if self.caught_up < base {
            self.read().await?;
            self.caught_up = base;
        }
        let now = self.now.borrow_and_update();
        if self.over {
            return Ok(());
        }
        let shown = &mut self.shown;
        // Otherwise it is among the steps.
        if self.after <= now.base {
            let is_void = now.take != shown.take && !shown.text.is_empty();
            if now.take != shown.take {
                let is_thought_doubtful = shown.is_thought_doubtful || shown.thinking > 0;
                *shown =
                    Shown { take: now.take, is_doubtful: shown.is_doubtful, is_thought_doubtful, ..Shown::default() };
            }
            if let Some(more) = now.thinking.get(shown.thinking..).filter(|more| !more.is_empty()) {
                let reset = std::mem::take(&mut shown.is_thought_doubtful);
                self.ready.push_back(Seen::Thinking { text: more.to_owned(), reset });
                shown.thinking = now.thinking.len();
            }
            let more = now.text.get(shown.text.len()..).unwrap_or_default();
            if is_void || !more.is_empty() {
                let reset = is_void || std::mem::take(&mut shown.is_doubtful);
                self.ready.push_back(Seen::Text { text: more.to_owned(), reset, is_committed: false });
                shown.text.push_str(more);
            }
        }
        Ok(())
    }
}
