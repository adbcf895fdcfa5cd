//! Shows an answer at its targets while a model writes it, where they want that: a post that grows.

use super::{answer, prepare::Prepared};
use crate::{
    app::App,
    live::Now,
    outbox::{Grown, grow},
};
use std::{sync::Arc, time::Duration};
use tercel_sdk::text::{self, Unit};
use tercel_store::{NewOutbox, Uuid};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often a post is changed at most. An answer that does not take so long is posted when it is complete.
const EVERY: Duration = Duration::from_secs(1);
/// How rarely a service that is asked too often is asked in the end, unless it wants to be asked more rarely still.
const RARELY: Duration = Duration::from_secs(60);
/// What stands behind a text that goes on, so that nobody takes it for the answer.
const GOES_ON: &str = " …";

/// The posts of one run, once there is something to show.
#[derive(Default)]
pub struct Showing(Option<Vec<Post>>);

struct Post {
    /// As its rows are.
    row: NewOutbox,
    limit: usize,
    unit: Unit,
    id: Option<Uuid>,
    shown: String,
    every: Duration,
    is_unknown: bool,
    is_over: bool,
}

impl Showing {
    pub fn has_begun(&self) -> bool {
        self.0.iter().flatten().any(|post| post.id.is_some())
    }

    /// Shows what the model says until it is done; then nothing is on its way any more.
    pub async fn follow(&mut self, app: &Arc<App>, prepared: &Prepared, done: &CancellationToken) {
        if prepared.task.rehearse {
            return;
        }
        let mut now = prepared.feed.watch();
        let begins = async {
            let has_text = now.wait_for(|now| !now.text.trim().is_empty()).await.is_ok();
            tokio::time::sleep(EVERY).await;
            has_text
        };
        if !unless(done, begins).await.unwrap_or_default() {
            return;
        }
        if self.0.is_none() {
            self.0 = Some(posts(app, prepared).await);
        }
        let posts = self.0.iter_mut().flatten();
        futures::future::join_all(posts.map(|post| post.follow(app, prepared, done))).await;
    }
}

async fn posts(app: &Arc<App>, prepared: &Prepared) -> Vec<Post> {
    let catalog = app.catalog();
    let rows = answer::rows(app, prepared).await.into_iter();
    rows.filter(|(target, _)| target.is_streamed())
        .filter_map(|(_, row)| {
            let dispatcher = catalog.dispatcher(&row.dispatch_type).filter(|found| found.update.is_some())?;
            let (limit, unit) = (dispatcher.limit, dispatcher.unit);
            Some(Post {
                row,
                limit,
                unit,
                id: None,
                shown: String::new(),
                every: EVERY,
                is_unknown: false,
                is_over: false,
            })
        })
        .collect()
}

impl Post {
    async fn follow(&mut self, app: &Arc<App>, prepared: &Prepared, done: &CancellationToken) {
        let mut now = prepared.feed.watch();
        while !self.is_over {
            let text = beginning(&now.borrow_and_update().text, self.limit, self.unit);
            if let Some(text) = text.filter(|text| *text != self.shown) {
                self.show(app, prepared, text).await;
            }
            if unless(done, more(&mut now, self.every)).await.is_none() {
                return;
            }
        }
    }

    async fn show(&mut self, app: &Arc<App>, prepared: &Prepared, text: String) {
        let Some(id) = self.id else { return self.begin(app, prepared, text).await };
        let grown = grow(app, id, text.clone()).await.unwrap_or_else(|error| {
            tracing::warn!(outbox.id = %id, "More of an answer is not shown: {error}");
            Grown::Never
        });
        match grown {
            Grown::Now => self.shown = text,
            Grown::NotYet => {}
            Grown::Later(asked) => self.slow_down(asked),
            // One that does not answer holds the run up while it is waited for.
            Grown::Unknown if !self.is_unknown => {
                self.is_unknown = true;
                self.slow_down(None);
            }
            Grown::Unknown | Grown::Never => self.is_over = true,
        }
    }

    async fn begin(&mut self, app: &Arc<App>, prepared: &Prepared, text: String) {
        let row = NewOutbox { id: Uuid::now_v7(), text: text.clone(), part: 0, parts: 0, ..self.row.clone() };
        match app.store.begin_answer(prepared.task.attempt, row).await {
            Ok(id) => (self.id, self.shown) = (Some(id), text),
            Err(error) => {
                tracing::warn!(task.id = %prepared.task.id, "The beginning of an answer is not shown: {error}");
                self.is_over = true;
            }
        }
    }

    fn slow_down(&mut self, asked: Option<Duration>) {
        self.every = (self.every * 2).min(RARELY).max(asked.unwrap_or_default());
    }
}

/// Waits for its time, then for something new.
async fn more(now: &mut watch::Receiver<Now>, every: Duration) {
    tokio::time::sleep(every).await;
    if now.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn unless<T>(done: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = done.cancelled() => None,
        outcome = work => Some(outcome),
    }
}

/// As much of an answer as goes into one post, with a sign that it goes on. Nothing where there is nothing yet.
fn beginning(said: &str, limit: usize, unit: Unit) -> Option<String> {
    let said = said.trim();
    (!said.is_empty()).then(|| text::cut_by(&format!("{said}{GOES_ON}"), limit, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_says_that_it_goes_on_and_fits_into_a_post() {
        let of = |said, limit| beginning(said, limit, Unit::Characters);
        assert_eq!(of(" \n", 16), None);
        assert_eq!(of("\nThe door ", usize::MAX).as_deref(), Some("The door …"));
        assert_eq!(of("The door is open, and so is the window", 16).as_deref(), Some("The door is ope…"));
    }

    #[test]
    fn a_service_that_is_asked_too_often_is_asked_more_rarely() {
        let row = NewOutbox {
            id: Uuid::nil(),
            target: String::new(),
            task_id: None,
            session_id: None,
            bot_id: String::new(),
            dispatch_type: String::new(),
            sealed_target: String::new(),
            text: String::new(),
            part: 0,
            parts: 0,
            hops: 0,
            rehearse: false,
            expires_at: None,
        };
        let mut post = Post {
            row,
            limit: 16,
            unit: Unit::Characters,
            id: None,
            shown: String::new(),
            every: EVERY,
            is_unknown: false,
            is_over: false,
        };
        let mut after = |asked: Option<u64>| {
            post.slow_down(asked.map(Duration::from_secs));
            post.every.as_secs()
        };
        assert_eq!([after(None), after(Some(1)), after(Some(30)), after(None), after(Some(300))], [2, 4, 30, 60, 300]);
    }
}
