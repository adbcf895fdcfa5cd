//! Asking a service what is new.

use super::event::{self, Rules};
use crate::manifest::{
    call::{Action, Pages, Shared},
    compile::{Attempts, Compiler},
    keys::{self, First, Newest},
    template::{Expression, json, value},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tercel_sdk::{Cursor, Error, Host, News, Polled, Result};

/// More often nobody is asked.
const OFTEN: Duration = Duration::from_secs(1);

pub struct Poll {
    name: String,
    every: Duration,
    action: Action,
    items: Expression,
    id: Expression,
    cursor: Option<Expression>,
    first: First,
    newest: Newest,
    pages: Option<Pages>,
    rules: Rules,
}

/// How far a poll has read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Place {
    /// The service's own.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    cursor: Value,
    /// What there was the last time, and is no news any more: digests of ids.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    passed: BTreeSet<String>,
}

pub fn compile(c: &mut Compiler) -> Vec<Poll> {
    let mut polls = Vec::new();
    let mut seen = Vec::new();
    for poll in &c.keys.poll {
        if seen.contains(&&poll.name.value) {
            c.wrong(poll.name.at, format!("There are two polls `{}`", poll.name.value));
        }
        seen.push(&poll.name.value);
        if poll.every.0 < OFTEN {
            c.wrong(poll.name.at, format!("`every` is at least {} s", OFTEN.as_secs()));
        }
        let is_read = |event: &keys::Event| event.from.as_ref().is_some_and(|from| from.value == poll.name.value);
        if !c.keys.events.iter().any(is_read) {
            c.wrong(poll.name.at, format!("No event is `from: {}`: nothing would come of it", poll.name.value));
        }
        polls.extend(one(c, poll));
    }
    polls
}

fn one(c: &mut Compiler, poll: &keys::Poll) -> Option<Poll> {
    let names = c.names().any("cursor");
    let Some(request) = poll.request() else {
        c.wrong(poll.name.at, "A poll needs a request");
        return None;
    };
    let action = c.action(&request, &names, Attempts::Several);
    let before: Vec<String> =
        action.iter().flat_map(|action| action.before.iter().map(|(name, _)| name.clone())).collect();
    let answered = names.clone().answered().only("before", before);
    let items = c.expr(&poll.items, &answered);
    let id = c.expr(&poll.id, &answered.clone().any("item"));
    let cursor = c.maybe(poll.cursor.as_ref(), &answered.clone().any("items"));
    let pages = c.pages(poll.pages.as_ref(), &answered, action.as_ref());
    let rules = event::rules(c, Some(&poll.name.value), &names.without("secrets").any("item"));
    Some(Poll {
        name: poll.name.value.clone(),
        every: poll.every.0,
        action: action?,
        items: items?,
        id: id?,
        cursor,
        first: poll.first,
        newest: poll.newest,
        pages,
        rules,
    })
}

pub fn part(service: Shared, poll: Poll) -> tercel_sdk::poll::Poll {
    let poll = Arc::new(poll);
    tercel_sdk::poll::Poll {
        name: poll.name.clone(),
        every: poll.every,
        handler: Arc::new(move |host, call| {
            let (service, poll) = (service.clone(), poll.clone());
            Box::pin(async move {
                let cursor: Cursor = serde_json::from_value(call.json)?;
                Ok(serde_json::to_value(poll.ask(&service, &host, &cursor).await?)?)
            })
        }),
    }
}

impl Poll {
    async fn ask(&self, service: &Shared, host: &Host, cursor: &Cursor) -> Result<Polled> {
        // A required field without a value switches it off.
        for field in service.fields.iter().filter(|field| field.required) {
            host.field(&field.key)?;
        }
        let known: Option<Place> = cursor.read()?;
        let is_first = known.is_none();
        let place = known.unwrap_or_default();
        let mut scope = service.scope(host).with("cursor", value(&place.cursor));
        let paged = service.list(host, &self.action, Some(&self.items), self.pages.as_ref(), &mut scope).await?;
        let mut items = paged.items;
        scope.set("items", items.iter().cloned().collect::<minijinja::Value>());
        if self.newest == Newest::First {
            items.reverse();
        }
        let mut next = Place { cursor: place.cursor.clone(), passed: BTreeSet::new() };
        // A service that answers nothing for once has not forgotten what it had.
        if items.is_empty() {
            next.passed.clone_from(&place.passed);
        }
        let mut news = Vec::new();
        for item in items {
            let inside = scope.clone().with("item", item);
            let unnamed = || Error::schema(format!("An item of the poll `{}` has no id", self.name));
            let id = service.engine.text_of(&self.id, &inside)?.ok_or_else(unnamed)?;
            let digest = digest(&id);
            let is_known = place.passed.contains(&digest);
            if !next.passed.insert(digest) || is_known || (is_first && self.first == First::Skip) {
                continue;
            }
            let made = self.rules.apply(service, host.integration(), &inside)?;
            news.extend(made.into_iter().map(|made| News { id: id.clone(), name: made.name, event: made.event }));
        }
        if let Some(cursor) = &self.cursor {
            let read = json(&service.pick(cursor, &scope, &paged.answer)?)?;
            if !read.is_null() {
                next.cursor = read;
            }
        }
        Ok(Polled { news, cursor: Cursor::of(&next)? })
    }
}

/// Short, because there may be many.
fn digest(id: &str) -> String {
    hex::encode(&Sha256::digest(id)[..8])
}
