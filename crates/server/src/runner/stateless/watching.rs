//! Passes a text on while it comes, without our secrets.

use crate::{app::App, redact::Tail};
use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tercel_models::Sink;

pub type Shown<'s> = dyn Fn(String) + Send + Sync + 's;

pub struct Watching<'a> {
    app: &'a App,
    /// What stands between this answer and the one before.
    gap: &'static str,
    tail: Mutex<Tail>,
    has_shown: AtomicBool,
    /// None where the whole is given at its end.
    shown: Option<&'a Shown<'a>>,
}

impl<'a> Watching<'a> {
    pub fn new(app: &'a App, gap: &'static str, shown: Option<&'a Shown<'a>>) -> Self {
        Self { app, gap, tail: Mutex::default(), has_shown: AtomicBool::new(false), shown }
    }

    pub fn has_shown(&self) -> bool {
        self.has_shown.load(Ordering::Relaxed)
    }

    pub fn finish(&self) {
        let rest = self.tail().finish(&self.app.catalog().redactor);
        self.show(rest);
    }

    fn show(&self, text: String) {
        let Some(shown) = self.shown.filter(|_| !text.is_empty()) else { return };
        match self.has_shown.swap(true, Ordering::Relaxed) {
            true => shown(text),
            false => shown(format!("{}{text}", self.gap)),
        }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Watching<'_> {
    fn text(&self, delta: &str) {
        let ready = self.tail().push(&self.app.catalog().redactor, delta);
        self.show(ready);
    }

    fn thinking(&self, _: &str) {}
}
