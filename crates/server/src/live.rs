//! What runs say right now, for those who watch. Nothing here lasts: what counts is committed as steps.
//!
//! A feed holds the state, not a queue: whoever reads slowly gets larger pieces, and holds nobody up.

use crate::{catalog::Catalog, redact::Tail};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, Weak},
};
use tercel_models::Sink;
use tercel_store::Uuid;
use tokio::sync::watch;

type Feeds = Mutex<HashMap<Uuid, Weak<Feed>>>;

/// The feeds of all runs that somebody works on or watches.
#[derive(Default)]
pub struct Live(Arc<Feeds>);

/// What one run says.
pub struct Feed {
    task: Uuid,
    all: Weak<Feeds>,
    now: watch::Sender<Now>,
}

/// An answer as far as it has come.
#[derive(Debug, Default)]
pub struct Now {
    /// How many steps the run had before it. When there are more, the answer is among them.
    pub base: i64,
    /// Counts the answers that were begun; one that failed is void.
    pub take: u64,
    pub text: String,
    pub thinking: String,
}

impl Live {
    pub fn feed(&self, task: Uuid) -> Arc<Feed> {
        let mut feeds = lock(&self.0);
        if let Some(feed) = feeds.get(&task).and_then(Weak::upgrade) {
            return feed;
        }
        let now = watch::Sender::new(Now::default());
        let feed = Arc::new(Feed { task, all: Arc::downgrade(&self.0), now });
        feeds.insert(task, Arc::downgrade(&feed));
        feed
    }

    pub fn find(&self, task: Uuid) -> Option<Arc<Feed>> {
        lock(&self.0).get(&task).and_then(Weak::upgrade)
    }
}

impl Feed {
    pub fn watch(&self) -> watch::Receiver<Now> {
        let mut watch = self.now.subscribe();
        watch.mark_changed();
        watch
    }

    /// What comes now comes after so many steps.
    pub fn after(&self, base: i64) {
        self.now.send_modify(|now| {
            now.base = base;
            now.start_over();
        });
    }

    /// Begins an answer.
    pub fn begin(&self, base: i64, catalog: Arc<Catalog>) -> Saying<'_> {
        self.after(base);
        Saying { feed: self, catalog, held: Mutex::default() }
    }

    /// What was shown of the answer counts no more.
    pub fn void(&self) {
        self.now.send_modify(Now::start_over);
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let Some(all) = self.all.upgrade() else { return };
        let mut feeds = lock(&all);
        // Somebody may have made the next one by now.
        if feeds.get(&self.task).is_some_and(|feed| feed.strong_count() == 0) {
            feeds.remove(&self.task);
        }
    }
}

impl Now {
    fn start_over(&mut self) {
        self.take += 1;
        self.text.clear();
        self.thinking.clear();
    }
}

/// Where a model says an answer. A secret is not shown even if it comes in pieces: what may be the beginning of one waits
/// for the rest.
pub struct Saying<'f> {
    feed: &'f Feed,
    catalog: Arc<Catalog>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    text: Tail,
    thinking: Tail,
}

impl Saying<'_> {
    /// The answer is complete: shows what was held back.
    pub fn finish(self) {
        let redactor = &self.catalog.redactor;
        let mut held = std::mem::take(&mut *lock(&self.held));
        let (text, thinking) = (held.text.finish(redactor), held.thinking.finish(redactor));
        self.show(&text, &thinking);
    }

    fn show(&self, text: &str, thinking: &str) {
        self.feed.now.send_if_modified(|now| {
            now.text.push_str(text);
            now.thinking.push_str(thinking);
            !(text.is_empty() && thinking.is_empty())
        });
    }
}

impl Sink for Saying<'_> {
    fn text(&self, delta: &str) {
        let shown = lock(&self.held).text.push(&self.catalog.redactor, delta);
        self.show(&shown, "");
    }

    fn thinking(&self, delta: &str) {
        let shown = lock(&self.held).thinking.push(&self.catalog.redactor, delta);
        self.show("", &shown);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_there_while_somebody_holds_it() {
        let live = Live::default();
        let task = Uuid::from_u128(1);
        let feed = live.feed(task);
        assert!(Arc::ptr_eq(&feed, &live.feed(task)));
        assert!(live.find(task).is_some());
        drop(feed);
        assert!(live.find(task).is_none() && lock(&live.0).is_empty());
    }
}
