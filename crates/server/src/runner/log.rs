//! The committed steps of a run, and those about to be.

use crate::{app::App, ceilings};
use std::time::Duration;
use tercel_agent::{Committed, Step};
use tercel_store::{Commit, End, Error, NewStep, Result, Task};

pub struct Log {
    n: i64,
    waiting: Vec<NewStep>,
    tokens: i64,
    /// Whether something waits that must not be lost.
    urgent: bool,
}

impl Log {
    /// Reads what earlier attempts committed. A step that says what the run was given is for people, not for the agent.
    pub async fn read(app: &App, task: &Task) -> Result<(Self, Vec<Committed>)> {
        let mut log = Self { n: 0, waiting: Vec::new(), tokens: 0, urgent: false };
        if task.attempt == 1 {
            return Ok((log, Vec::new()));
        }
        let rows = app.store.steps(task.id, 0).await?;
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
        if let Step::Model { answer, .. } = step {
            self.tokens += answer.usage.total() as i64;
        }
        Ok(())
    }

    /// Commits what waits, if it matters.
    pub async fn flush(&mut self, app: &App, task: &Task, client_id: &str) -> Result<()> {
        if !self.urgent {
            return Ok(());
        }
        self.commit(app, task, client_id, None).await
    }

    /// Commits what waits, and the end. While the disk is full or the database locked it is tried again: an answer that
    /// was paid for is not thrown away.
    pub async fn commit(&mut self, app: &App, task: &Task, client_id: &str, end: Option<End>) -> Result<()> {
        let commit = Commit {
            task: task.id,
            attempt: task.attempt,
            steps: std::mem::take(&mut self.waiting),
            tokens: std::mem::take(&mut self.tokens),
            scopes: ceilings::scopes(&task.origin, client_id),
            end,
        };
        self.urgent = false;
        let mut wait = Duration::from_millis(100);
        loop {
            match app.store.commit(commit.clone()).await {
                Err(error) if error.is_passing() && !matches!(error, Error::Stopping) => {
                    tracing::error!(task.id = %task.id, "A step cannot be committed and is tried again: {error}");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(5));
                }
                outcome => return outcome,
            }
        }
    }
}
