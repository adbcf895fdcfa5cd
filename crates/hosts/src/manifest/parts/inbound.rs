//! What comes in by webhook: verified, read, and made into events.

use super::{
    event::{self, Rules},
    verify::{Check, Covers},
};
use crate::manifest::{
    call::{Action, Pages, Service, Shared},
    compile::{Attempts, Compiler},
    keys::{self, Body, Dedupe as Known},
    template::{Expression, Scope, Shape, Template, json, value},
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tercel_sdk::{Dedupe, Error, Handler, Host, Inbound, News, Outcome, Received, Refusal, Reply, Signed, inbound};
use url::form_urlencoded;

pub struct Webhook {
    path: String,
    description: String,
    body: Body,
    dedupe: Repeats,
    answer: Option<Answer>,
    rules: Rules,
    register: Option<(Action, Option<Expression>)>,
    unregister: Option<Action>,
    missed: Option<Missed>,
}

enum Repeats {
    Body,
    Never,
    /// With whether the id is in a header, which few proofs cover.
    Id {
        id: Expression,
        within: Option<Duration>,
        of_headers: bool,
    },
}

struct Answer {
    when: Expression,
    body: Said,
    status: u16,
}

enum Said {
    Text(Template),
    Json(Shape),
}

struct Missed {
    action: Action,
    items: Expression,
    id: Expression,
    pages: Option<Pages>,
}

pub fn compile(c: &mut Compiler) -> Option<Webhook> {
    let keys = c.keys.webhook.as_ref()?;
    let names = c.names().without("secrets").any("body").any("headers").any("raw").any("item");
    let answer = keys.answer.as_ref().and_then(|answer| {
        let status = answer.status.as_ref();
        if let Some(status) = status.filter(|status| !(200..300).contains(&status.value)) {
            c.wrong(status.at, "`status` is between 200 and 299: what is refused is not answered");
        }
        let when = c.expr(&answer.when, &names);
        let body = match (&answer.text, &answer.json) {
            (Some(text), None) => Said::Text(c.text(text, &names)?),
            (None, Some(json)) => Said::Json(c.json(json, &names)),
            _ => {
                c.wrong(answer.when.at, "`answer` has one of `text` and `json`");
                return None;
            }
        };
        Some(Answer { when: when?, body, status: status.map_or(200, |status| status.value) })
    });
    let dedupe = match &keys.dedupe {
        Known::Body => Repeats::Body,
        Known::Never => Repeats::Never,
        Known::Id(known) => Repeats::Id {
            id: c.expr(&known.id, &names)?,
            within: known.within.map(|span| span.0),
            of_headers: known.id.source.contains("headers"),
        },
    };
    let missed = keys.missed.as_ref().and_then(|missed| self::missed_of(c, missed));
    let address = c.names().only("webhook", ["url"]);
    let register = keys.register.as_ref().and_then(|register| {
        let Some(request) = register.request() else {
            c.wrong(keys.verify.at, "`register` needs a request");
            return None;
        };
        let action = c.action(&request, &address, Attempts::Several)?;
        let before = action.before.iter().map(|(name, _)| name.clone());
        let answered = address.clone().answered().only("before", before);
        Some((action, c.maybe(register.id.as_ref(), &answered)))
    });
    let unregister = keys.unregister.as_ref().and_then(|unregister| {
        let request = unregister.request();
        if request.is_none() || keys.register.is_none() {
            c.wrong(keys.verify.at, "`unregister` is a request, and takes back what `register` did");
        }
        c.action(&request?, &address.clone().any("id"), Attempts::Several)
    });
    let path = keys.path.as_ref().map_or("webhook", |path| path.value.trim_matches('/'));
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if let Some(at) = &keys.path
        && (path.is_empty() || path.starts_with('.') || !path.chars().all(is_name) || path == "c" || path == "mc")
    {
        c.wrong(at.at, "`path` is one word of a-z, 0-9, `-`, `_` and `.`");
    }
    let (path, description) = (path.to_owned(), keys.description.clone());
    let rules = event::rules(c, None, &names);
    Some(Webhook { path, description, body: keys.body, dedupe, answer, rules, register, unregister, missed })
}

fn missed_of(c: &mut Compiler, missed: &keys::Missed) -> Option<Missed> {
    let names = c.names().only("gap", ["since", "until"]);
    let Some(request) = missed.request() else {
        c.wrong(missed.items.at, "`missed` needs a request");
        return None;
    };
    let action = c.action(&request, &names, Attempts::Several)?;
    let answered = names.answered();
    let pages = c.pages(missed.pages.as_ref(), &answered, Some(&action));
    let items = c.expr(&missed.items, &answered);
    Some(Missed { action, items: items?, id: c.expr(&missed.id, &answered.any("item"))?, pages })
}

pub fn part(service: Shared, webhook: Arc<Webhook>, check: Check) -> inbound::Webhook {
    let unchecked = check.unchecked().map(|reason| format!("Nobody checks who sends: {reason}"));
    let said = [webhook.description.clone(), unchecked.unwrap_or_default()];
    let (made, asked) = (webhook.clone(), service.clone());
    let mut part =
        inbound::Webhook::new(move |host: Host, request: Inbound| made.receive(&service, &check, &host, request));
    part.path.clone_from(&webhook.path);
    part.events = webhook.rules.names();
    part.register = webhook.register.is_some().then(|| registrar(&asked, &webhook, true));
    part.unregister = webhook.unregister.is_some().then(|| registrar(&asked, &webhook, false));
    part.description = said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(". ");
    part
}

/// Tells the service where to send what happens, or that nothing is to come any more.
fn registrar(service: &Shared, webhook: &Arc<Webhook>, is_new: bool) -> Handler {
    let (service, webhook) = (service.clone(), webhook.clone());
    Arc::new(move |host, call| {
        let (service, webhook) = (service.clone(), webhook.clone());
        Box::pin(async move {
            let mut scope = service
                .scope(&host)
                .with("webhook", value(&serde_json::json!({"url": call.json["url"]})))
                .with("id", value(&call.json["id"]));
            let (action, id) = match (&webhook.register, &webhook.unregister) {
                (Some((action, id)), _) if is_new => (action, id.as_ref()),
                (_, Some(action)) => (action, None),
                _ => return Ok(Value::Null),
            };
            let answer = service.act(&host, action, &mut scope, &Default::default()).await?;
            let id = id.map(|id| service.pick(id, &scope, &answer).and_then(|id| json(&id))).transpose()?;
            Ok(serde_json::json!({"id": id}))
        })
    })
}

impl Webhook {
    fn receive(&self, service: &Shared, check: &Check, host: &Host, request: Inbound) -> Result<Received, Refusal> {
        let signed = check.read(host, request)?;
        let body = self.read(&signed)?;
        let headers: BTreeMap<&str, &str> =
            signed.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
        let scope = service
            .scope(host)
            .with_json("body", &body)
            .with_json("item", &body)
            .with("headers", minijinja::Value::from_pairs(headers))
            .with("raw", String::from_utf8_lossy(signed.body()).into_owned());
        self.made(service, check.covers, host, &scope).map_err(|error| Refusal::malformed(error.message))
    }

    fn made(&self, service: &Service, covers: Covers, host: &Host, scope: &Scope) -> Result<Received, Error> {
        let dedupe = self.known(service, covers, scope)?;
        if let Some(answer) = &self.answer
            && service.engine.holds(&answer.when, scope)?
        {
            let reply = match &answer.body {
                Said::Text(text) => Reply::text(service.engine.render(text, scope)?),
                Said::Json(shape) => Reply::json(&service.engine.fill(shape, scope)?.unwrap_or_default()),
            };
            let outcome = Outcome::Reply(Reply { status: answer.status, ..reply });
            return Ok(Received { dedupe, name: "answer".into(), outcome });
        }
        let made = self.rules.apply(service, host.integration(), scope)?;
        let Some(first) = made.first() else {
            let outcome = Outcome::Ignored("No event of integration.yaml wants it".into());
            return Ok(Received { dedupe, name: String::new(), outcome });
        };
        let name = first.name.clone();
        let mut events: Vec<tercel_sdk::Event> = made.into_iter().map(|made| made.event).collect();
        // What is fetched later is known by the same id.
        if let (Some(_), Dedupe::SignedId(id) | Dedupe::Within(id, _) | Dedupe::UnsignedId(id), [event]) =
            (&self.missed, &dedupe, &mut events[..])
        {
            event.id = Some(id.clone());
        }
        Ok(Received { dedupe, name, outcome: Outcome::Events(events) })
    }

    fn read(&self, signed: &Signed) -> Result<Value, Refusal> {
        Ok(match self.body {
            Body::Json => signed.json()?,
            Body::Text => String::from_utf8_lossy(signed.body()).into_owned().into(),
            Body::Form => {
                let mut form = Map::new();
                for (name, said) in form_urlencoded::parse(signed.body()) {
                    // The same name several times is a list.
                    let said = Value::from(said.into_owned());
                    match form.get_mut(name.as_ref()) {
                        None => _ = form.insert(name.into_owned(), said),
                        Some(Value::Array(list)) => list.push(said),
                        Some(first) => *first = Value::Array(vec![first.take(), said]),
                    }
                }
                form.into()
            }
        })
    }

    fn known(&self, service: &Service, covers: Covers, scope: &Scope) -> Result<Dedupe, Error> {
        Ok(match &self.dedupe {
            Repeats::Body => Dedupe::Body,
            Repeats::Never => Dedupe::Never,
            Repeats::Id { id, within, of_headers } => match (service.engine.text_of(id, scope)?, within) {
                (None, _) => Dedupe::Body,
                (Some(id), _) if *of_headers && covers == Covers::Body => Dedupe::UnsignedId(id),
                (Some(id), Some(within)) => Dedupe::Within(id, *within),
                (Some(id), None) => Dedupe::SignedId(id),
            },
        })
    }
}

/// Fetches what was sent while the server was down.
pub fn missed(service: &Shared, webhook: &Arc<Webhook>) -> Option<Handler> {
    webhook.missed.as_ref()?;
    let (service, webhook) = (service.clone(), webhook.clone());
    Some(Arc::new(move |host, call| {
        let (service, webhook) = (service.clone(), webhook.clone());
        Box::pin(async move {
            let Some(missed) = &webhook.missed else { return Ok(Value::Null) };
            let gap = serde_json::json!({"since": call.json["since"], "until": call.json["until"]});
            let mut scope = service.scope(&host).with("gap", value(&gap));
            let pages = missed.pages.as_ref();
            let paged = service.list(&host, &missed.action, Some(&missed.items), pages, &mut scope).await?;
            let mut found = tercel_sdk::Missed::default();
            for item in paged.items {
                let inside = scope.clone().with("body", item.clone()).with("item", item);
                let Some(id) = service.engine.text_of(&missed.id, &inside)? else { continue };
                for made in webhook.rules.apply(&service, host.integration(), &inside)? {
                    found.news.push(News { id: id.clone(), name: made.name, event: made.event.id(id.clone()) });
                }
            }
            Ok(serde_json::to_value(found)?)
        })
    }))
}
