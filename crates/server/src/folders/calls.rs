//! Calls that are open: what their code asks of the server meanwhile belongs to them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, Weak},
    time::{Duration, Instant},
};
use tercel_sdk::{grant::Tokens, host::Ids};
use tercel_store::Uuid;

/// Calls that are remembered before those are forgotten that are over.
const ROOM: usize = 1024;
/// How long a call without a deadline is remembered.
const LONGEST: Duration = Duration::from_secs(3600);

#[derive(Default)]
pub struct Calls(Mutex<HashMap<Uuid, Arc<Open>>>);

/// One call of the code of an integration.
pub struct Open {
    integration: String,
    pub ids: Ids,
    /// Which processing of which delivery it is.
    delivery: Option<(Uuid, i64)>,
    until: Instant,
    asked: Mutex<Asked>,
    /// The tokens of a connection with values that are not saved, while whoever works with them does.
    lent: OnceLock<(String, Weak<dyn Tokens>)>,
}

#[derive(Default)]
struct Asked {
    /// How often each thing was asked for.
    times: HashMap<String, u32>,
    /// What was asked for with a key of the caller's: it may ask again because it got no answer.
    keys: HashMap<String, String>,
    stored: bool,
    ran: bool,
}

impl Calls {
    pub fn begin(&self, id: Uuid, integration: &str, ids: Ids, timeout: Option<Duration>) -> Arc<Open> {
        self.enter(id, integration, ids, None, timeout)
    }

    /// One that processes a delivery.
    pub fn begin_delivery(&self, id: Uuid, integration: &str, delivery: (Uuid, i64), timeout: Duration) -> Arc<Open> {
        let ids = Ids { delivery: Some(delivery.0), ..Ids::default() };
        self.enter(id, integration, ids, Some(delivery), Some(timeout))
    }

    fn enter(
        &self,
        id: Uuid,
        integration: &str,
        ids: Ids,
        delivery: Option<(Uuid, i64)>,
        timeout: Option<Duration>,
    ) -> Arc<Open> {
        let now = Instant::now();
        let until = now + timeout.unwrap_or(LONGEST).min(LONGEST);
        let integration = integration.to_owned();
        let open = Open { integration, ids, delivery, until, asked: Mutex::default(), lent: OnceLock::new() };
        let open = Arc::new(open);
        let mut calls = self.lock();
        if calls.len() >= ROOM {
            calls.retain(|_, call| call.until > now);
        }
        calls.insert(id, open.clone());
        open
    }

    pub fn end(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    /// The open call of that name, if it is one of this integration.
    pub fn of(&self, integration: &str, id: Uuid) -> Option<Arc<Open>> {
        self.lock().get(&id).filter(|call| call.integration == integration).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Open>>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Open {
    /// The call is about values that are not saved: its code is given the tokens of these.
    pub fn lend(&self, connection: &str, tokens: &Arc<dyn Tokens>) {
        self.lent.get_or_init(|| (connection.to_owned(), Arc::downgrade(tokens)));
    }

    /// The tokens of that connection, if the call is about values of it that are not saved.
    pub fn lent(&self, connection: &str) -> Option<Arc<dyn Tokens>> {
        self.lent.get().filter(|(of, _)| of == connection)?.1.upgrade()
    }

    pub fn delivery(&self) -> Option<Uuid> {
        self.delivery.map(|(id, _)| id)
    }

    /// The name of what is asked for now, the same each time that the delivery is processed. `what` is asked for again
    /// and again; `key` is the caller's own, under which it repeats a request that it got no answer to.
    pub fn name(&self, what: &str, key: Option<&str>) -> Option<String> {
        let (delivery, generation) = self.delivery?;
        let mut asked = self.asked.lock().expect("no holder of this lock panics");
        if let Some(known) = key.and_then(|key| asked.keys.get(key)) {
            return Some(known.clone());
        }
        let times = asked.times.entry(what.to_owned()).or_default();
        *times += 1;
        let name = format!("delivery/{delivery}/{generation}/{what}/{times}");
        if let Some(key) = key {
            asked.keys.insert(key.to_owned(), name.clone());
        }
        Some(name)
    }

    /// Something was put into a session, and a run was started or not.
    pub fn injected(&self, ran: bool) {
        let mut asked = self.asked.lock().expect("no holder of this lock panics");
        asked.stored = true;
        asked.ran |= ran;
    }

    /// `run`, `stored` or `reply`, by what was injected.
    pub fn outcome(&self) -> &'static str {
        let asked = self.asked.lock().expect("no holder of this lock panics");
        match (asked.ran, asked.stored) {
            (true, _) => "run",
            (false, true) => "stored",
            (false, false) => "reply",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::BoxFuture;
    use tercel_sdk::{Error, Result};

    fn open(calls: &Calls, generation: i64) -> Arc<Open> {
        let limit = Duration::from_secs(9);
        calls.begin_delivery(Uuid::now_v7(), "forge", (Uuid::nil(), generation), limit)
    }

    #[test]
    fn the_nth_thing_has_the_same_name_each_time_a_delivery_is_processed() {
        let calls = Calls::default();
        let names = |generation| {
            let open = open(&calls, generation);
            ["a", "b", "a"].map(|what| open.name(what, None).unwrap())
        };
        let first = names(1);
        assert_eq!(first, names(1));
        assert_ne!(first[0], first[2]);
        assert!(names(2).iter().all(|name| !first.contains(name)), "an operator's replay is another one");
    }

    #[test]
    fn a_request_that_is_sent_again_is_not_counted_twice() {
        let open = open(&Calls::default(), 1);
        let first = open.name("a", Some("k"));
        assert_eq!(first, open.name("a", Some("k")));
        assert_ne!(first, open.name("a", Some("other")));
    }

    #[test]
    fn nobody_speaks_for_the_call_of_another() {
        let calls = Calls::default();
        let id = Uuid::now_v7();
        calls.begin(id, "forge", Ids::default(), None);
        assert!(calls.of("forge", id).is_some() && calls.of("other", id).is_none());
        calls.end(id);
        assert!(calls.of("forge", id).is_none());
    }

    struct Nothing;

    impl Tokens for Nothing {
        fn access(&self) -> BoxFuture<'_, Result<String>> {
            Box::pin(async { Err(Error::not_configured("Nobody has agreed")) })
        }

        fn refused<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
            Box::pin(async {})
        }
    }

    #[test]
    fn tokens_are_lent_for_one_connection_and_no_longer_than_somebody_works_with_them() {
        let open = open(&Calls::default(), 1);
        assert!(open.lent("work").is_none());
        let tokens: Arc<dyn Tokens> = Arc::new(Nothing);
        open.lend("work", &tokens);
        assert!(open.lent("work").is_some() && open.lent("default").is_none());
        drop(tokens);
        assert!(open.lent("work").is_none());
    }
}
