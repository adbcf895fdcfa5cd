//! The committed steps of a run, and those about to be.

use crate::{app::App, ceilings, queue::patiently, unpriced};
use std::sync::Arc;
use tercel_agent::{Committed, Step};
use tercel_sdk::chat::Usage;
use tercel_store::{ClientCall, ClientCalls, Commit, Counts, End, NewStep, Result, Task};

pub struct Log {
    task: Arc<Task>,
    n: i64,
    waiting: Vec<NewStep>,
    /// What models spent that are paid for.
    spent: Vec<(String, Usage)>,
    used: Counts,
    client: ClientCalls,
    /// Whether the beginning of an answer may have been shown, in an earlier attempt or in this one.
    begun: bool,
    /// Whether something waits that must not be lost.
    urgent: bool,
}

impl Log {
    /// Reads what earlier attempts committed. A step that says what the run was given is for people, not for the agent.
    pub async fn read(app: &App, task: &Arc<Task>) -> Result<(Self, Vec<Committed>)> {
        let mut log = Self {
            task: task.clone(),
            n: 0,
            waiting: Vec::new(),
            spent: Vec::new(),
            used: Counts::default(),
            client: ClientCalls::default(),
            begun: task.attempt > 1,
            urgent: false,
        };
        if task.attempt == 1 {
            return Ok((log, Vec::new()));
        }
        let rows = patiently("Reading the steps of a run", || app.store.steps(task.id, 0)).await?;
        log.n = rows.last().map_or(0, |row| row.n);
        let steps = rows
            .iter()
            .filter(|row| row.kind != "context")
            .map(|row| Ok(Committed { attempt: row.attempt as u32, step: serde_json::from_str(&row.body)? }))
            .collect::<Result<_>>()?;
        Ok((log, steps))
    }

    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// How many steps there are, those that wait included.
    pub fn count(&self) -> i64 {
        self.n
    }

    /// What the run was given, committed together with its first step.
    pub fn note(&mut self, body: &serde_json::Value) {
        self.n += 1;
        self.waiting.push(NewStep { n: self.n, kind: "context".into(), body: body.to_string() });
    }

    /// Adds a step to what the next commit takes.
    pub fn add(&mut self, step: &Step) -> Result<()> {
        let body = serde_json::to_value(step)?;
        self.n += 1;
        let kind = body["kind"].as_str().unwrap_or_default().to_owned();
        self.waiting.push(NewStep { n: self.n, kind, body: body.to_string() });
        self.urgent = true;
        match step {
            // The rehearsal costs nothing.
            Step::Model { provider, answer, .. } if provider == "rehearsal" => self.used += counts(answer.usage),
            Step::Model { model, answer, .. } => self.spend(model, answer.usage),
            _ => {}
        }
        Ok(())
    }

    /// Adds what a call took to what the next commit counts.
    pub fn spend(&mut self, model: &str, usage: Usage) {
        self.used += counts(usage);
        self.spent.push((model.to_owned(), usage));
    }

    /// The result of a call of the client's is among what waits.
    pub fn is_answered(&mut self, call_id: String) {
        self.client.done.push(call_id);
    }

    /// The client is asked by the next commit.
    pub fn waits_for(&mut self, calls: Vec<ClientCall>) {
        self.client.asked = calls;
    }

    /// The beginning of an answer was shown.
    pub fn has_begun(&mut self) {
        self.begun = true;
    }

    /// Commits what waits, if it matters.
    pub async fn flush(&mut self, app: &App, client_id: &str) -> Result<()> {
        match self.urgent {
            true => self.commit(app, client_id, None).await,
            false => Ok(()),
        }
    }

    /// Commits what waits, and the end. An answer that was paid for is not thrown away: it is waited for room on the disk.
    pub async fn commit(&mut self, app: &App, client_id: &str, end: Option<End>) -> Result<()> {
        self.commit_waiting(app, client_id, end, None).await
    }

    /// The same for an end that waits for the ceiling of a scope.
    pub async fn commit_waiting(
        &mut self,
        app: &App,
        client_id: &str,
        end: Option<End>,
        parked: Option<String>,
    ) -> Result<()> {
        let spent = std::mem::take(&mut self.spent);
        let task = &self.task;
        let whose = ceilings::whose(app, &task.bot_id, &task.origin, client_id);
        let mut used = std::mem::take(&mut self.used);
        let spent = match task.rehearse {
            true => Vec::new(),
            false => {
                unpriced::look(app, &whose, &spent).await;
                used.cost = spent.iter().map(|(model, usage)| ceilings::cost(app, model, *usage)).sum();
                ceilings::account(app, &whose, &spent)
            }
        };
        let commit = Commit {
            task: task.id,
            attempt: task.attempt,
            steps: std::mem::take(&mut self.waiting),
            used,
            spent,
            parked,
            client: std::mem::take(&mut self.client),
            events: app.emission.take(task.id),
            begun: self.begun,
            end,
        };
        self.urgent = false;
        patiently("The commit of a step", || app.store.commit(commit.clone())).await?;
        if !commit.events.is_empty() {
            app.emission.ring();
        }
        Ok(())
    }
}

fn counts(usage: Usage) -> Counts {
    Counts {
        prompt_tokens: usage.prompt_tokens as i64,
        completion_tokens: usage.completion_tokens as i64,
        ..Counts::default()
    }
}
