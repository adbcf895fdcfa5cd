//! What a call takes, whatever comes of it.

use crate::Sink;
use std::sync::{Mutex, PoisonError};
use tercel_sdk::chat::Usage;

/// Shows a call to another sink and keeps what the provider says it took.
pub struct Meter<'a> {
    sink: &'a dyn Sink,
    spent: Mutex<Usage>,
}

impl<'a> Meter<'a> {
    pub fn over(sink: &'a dyn Sink) -> Self {
        Self { sink, spent: Mutex::default() }
    }

    /// Nothing when the provider said nothing.
    pub fn reading(&self) -> Usage {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Meter<'_> {
    fn text(&self, delta: &str) {
        self.sink.text(delta);
    }

    fn thinking(&self, delta: &str) {
        self.sink.thinking(delta);
    }

    fn spent(&self, usage: Usage) {
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) = usage;
        self.sink.spent(usage);
    }
}
