//! What a call takes, whatever comes of it.

use crate::Sink;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use tercel_sdk::chat::{Request, Usage};

/// Shows a call to another sink and keeps what the provider says it took.
pub struct Meter<'a> {
    sink: &'a dyn Sink,
    spent: Mutex<Usage>,
    /// Characters that came.
    came: AtomicU64,
}

impl<'a> Meter<'a> {
    pub fn over(sink: &'a dyn Sink) -> Self {
        Self { sink, spent: Mutex::default(), came: AtomicU64::new(0) }
    }

    /// Nothing when the provider said nothing.
    pub fn reading(&self) -> Usage {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call took that is cut off now: what the provider said of it, else about what was sent and has come.
    pub fn cut_off(&self, request: &Request) -> Usage {
        let said = self.reading();
        let about = |characters: u64| characters.div_ceil(4);
        let tools = serde_json::to_string(&request.tools).map_or(0, |tools| tools.len());
        let sent = request.messages.iter().map(|message| message.content.chars().count()).sum::<usize>() + tools;
        Usage {
            prompt_tokens: if said.prompt_tokens > 0 { said.prompt_tokens } else { about(sent as u64) },
            completion_tokens: said.completion_tokens.max(about(self.came.load(Ordering::Relaxed))),
            ..said
        }
    }

    /// The same for a call that failed: one of which nothing came took what the provider says, and else nothing.
    pub fn broken_off(&self, request: &Request) -> Usage {
        match self.came.load(Ordering::Relaxed) {
            0 => self.reading(),
            _ => self.cut_off(request),
        }
    }

    fn count(&self, delta: &str) {
        self.came.fetch_add(delta.chars().count() as u64, Ordering::Relaxed);
    }
}

impl Sink for Meter<'_> {
    fn text(&self, delta: &str) {
        self.count(delta);
        self.sink.text(delta);
    }

    fn thinking(&self, delta: &str) {
        self.count(delta);
        self.sink.thinking(delta);
    }

    fn spent(&self, usage: Usage) {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) = usage;
        self.sink.spent(usage);
    }
}
