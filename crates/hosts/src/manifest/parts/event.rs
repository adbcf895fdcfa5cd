//! What of what came becomes a message or a run.

use super::{inbound, poll};
use crate::manifest::{
    call::Service,
    compile::Compiler,
    keys::{self, Run},
    template::{Expression, Names, Scope, Shape, Template, json},
};
use std::time::Duration;
use tercel_sdk::{Brief, Cooldown, Error, Merge, Result, Target, dispatch::STREAM};

/// Events of one delivery, or of one answer to a poll.
const MOST: usize = 1000;
/// Events of one run, unless the manifest says something else.
const MOST_MERGED: u32 = 100;
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Characters of the name of a place or a thread.
const LONGEST_NAME: usize = 200;

/// The rules of one source: of the webhook, or of a poll.
#[derive(Default)]
pub struct Rules(Vec<Rule>);

struct Rule {
    name: String,
    each: Option<(String, Expression)>,
    when: Option<Expression>,
    session: Template,
    thread: Option<Shape>,
    prompt: Template,
    run: Does,
    merge: Option<(Expression, Duration, u32)>,
    cooldown: Option<(Expression, Duration)>,
    shelf_life: Option<Duration>,
    target: Option<Vec<(String, Shape)>>,
}

enum Does {
    Agent { preamble: Option<Template>, skills: Vec<String>, tools: Vec<String>, model: Option<String> },
    Relay,
    Store,
}

/// An event with its name in the service's own words.
pub struct Made {
    pub name: String,
    pub event: tercel_sdk::Event,
}

/// The webhook, unless code is given what came, and the polls; each with its events.
pub fn compile(c: &mut Compiler, has_code: bool) -> (Option<inbound::Webhook>, Vec<poll::Poll>) {
    let is_codes = c.keys.webhook.as_ref().is_some_and(|webhook| webhook.events.is_some());
    if let Some(webhook) = &c.keys.webhook {
        if is_codes && !has_code {
            c.wrong(webhook.verify.at, "`events: code` is for folders with code, and there is none");
        }
        if !is_codes && !c.keys.events.iter().any(|event| event.from.is_none()) {
            c.wrong(webhook.verify.at, "`webhook` needs `events`: what of what comes becomes a message or a run");
        }
    }
    let polls: Vec<&str> = c.keys.poll.iter().map(|poll| poll.name.value.as_str()).collect();
    for event in &c.keys.events {
        match &event.from {
            Some(from) if !polls.contains(&from.value.as_str()) => {
                let near = keys::nearest(&from.value, polls.iter().copied());
                let meant = near.map_or_else(String::new, |near| format!("; is `{near}` meant?"));
                c.wrong(from.at, format!("There is no poll `{}`{meant}", from.value));
            }
            None if c.keys.webhook.is_none() || is_codes => {
                c.wrong(
                    event.name.at,
                    "This event comes from nowhere: it needs `webhook`, or `from`, the name of a poll",
                );
            }
            _ => {}
        }
    }
    let webhook = match is_codes {
        true => None,
        false => inbound::compile(c),
    };
    (webhook, poll::compile(c))
}

/// The rules of a source; `names` are what its data is called.
pub fn rules(c: &mut Compiler, from: Option<&str>, names: &Names) -> Rules {
    let mut rules = Vec::new();
    for event in &c.keys.events {
        if event.from.as_ref().map(|from| from.value.as_str()) == from {
            rules.extend(rule(c, event, names));
        }
    }
    Rules(rules)
}

fn rule(c: &mut Compiler, event: &keys::Event, names: &Names) -> Option<Rule> {
    let each = event.each.as_ref().and_then(|each| Some((each.source.trim().to_owned(), c.expr(each, names)?)));
    let names = names.clone().without("secrets").any("item");
    let target = event.target.as_ref().map(|target| {
        let known: Vec<&str> = match &c.keys.dispatch {
            Some(dispatch) => {
                let stream = dispatch.update.as_ref().map(|_| STREAM);
                dispatch.target.0.iter().map(|(name, _)| name.as_str()).chain(stream).collect()
            }
            None => {
                c.wrong(event.name.at, "`target` fills this integration's own `dispatch`, and there is none");
                Vec::new()
            }
        };
        for (name, _) in target.0.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let near = keys::nearest(name, known.iter().copied());
            let meant = near.map_or_else(String::new, |near| format!("; is `{near}` meant?"));
            c.wrong(event.name.at, format!("`dispatch.target` has no `{name}`{meant}"));
        }
        c.entries(target, &names)
    });
    let run = match &event.run {
        Run::Relay => Does::Relay,
        Run::Store => Does::Store,
        Run::Agent(brief) => Does::Agent {
            preamble: brief.preamble.as_ref().and_then(|preamble| c.text(preamble, &names)),
            skills: brief.skills.iter().map(|skill| skill.value.clone()).collect(),
            tools: brief.tools.iter().map(|tool| tool.value.clone()).collect(),
            model: brief.model.clone(),
        },
    };
    if let Run::Agent(brief) = &event.run {
        let own = format!("{}_", c.id);
        for tool in brief.tools.iter().filter(|tool| tool.value.starts_with(&own)) {
            if !c.keys.tools.iter().any(|declared| declared.name.value == tool.value) && c.keys.worker.is_none() {
                c.wrong(tool.at, format!("There is no tool `{}`", tool.value));
            }
        }
    }
    if !matches!(event.run, Run::Agent(_))
        && (event.merge.is_some() || event.cooldown.is_some() || event.shelf_life.is_some())
    {
        c.wrong(event.name.at, "`merge`, `cooldown` and `shelf_life` are about runs, and this event starts none");
    }
    let merge = event.merge.as_ref().and_then(|merge| {
        let most = merge.max.as_ref().map_or(MOST_MERGED, |max| max.value);
        if let Some(max) = merge.max.as_ref().filter(|max| !(2..=1000).contains(&max.value)) {
            c.wrong(max.at, "`max` is between 2 and 1000 events");
        }
        if merge.time.0 > LONGEST_WAIT {
            c.wrong(event.name.at, "`merge.for` is at most an hour: so long the first of them waits");
        }
        Some((c.expr(&merge.by, &names)?, merge.time.0, most))
    });
    let cooldown = event.cooldown.as_ref().and_then(|cooldown| Some((c.expr(&cooldown.by, &names)?, cooldown.time.0)));
    Some(Rule {
        merge,
        cooldown,
        shelf_life: event.shelf_life.map(|span| span.0),
        name: event.name.value.clone(),
        each,
        when: c.maybe(event.when.as_ref(), &names),
        session: c.text(&event.session, &names)?,
        thread: event.thread.as_ref().map(|thread| c.json(&keys::Json::Text(thread.clone()), &names)),
        prompt: c.text(&event.prompt, &names)?,
        run,
        target,
    })
}

impl Rules {
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|rule| rule.name.clone()).collect()
    }

    /// What becomes of the data of a scope: each item is taken by the first rule that wants it.
    pub fn apply(&self, service: &Service, integration: &str, scope: &Scope) -> Result<Vec<Made>> {
        let mut lists: Vec<&str> = Vec::new();
        let mut made = Vec::new();
        for rule in &self.0 {
            let key = rule.each.as_ref().map_or("", |(source, _)| source);
            if lists.contains(&key) {
                continue;
            }
            lists.push(key);
            let items = match &rule.each {
                None => vec![scope.get("item").cloned().unwrap_or_default()],
                Some((_, each)) => list(&service.engine.eval(each, scope)?)?,
            };
            for item in items {
                let inside = scope.clone().with("item", item);
                let same = self.0.iter().filter(|other| other.each.as_ref().map_or("", |(source, _)| source) == key);
                for rule in same {
                    if rule.when.as_ref().map_or(Ok(true), |when| service.engine.holds(when, &inside))? {
                        made.push(rule.event(service, integration, &inside)?);
                        break;
                    }
                }
                if made.len() > MOST {
                    return Err(Error::schema(format!("This would be more than {MOST} events at once")));
                }
            }
        }
        Ok(made)
    }
}

fn list(value: &minijinja::Value) -> Result<Vec<minijinja::Value>> {
    if value.is_undefined() || value.is_none() {
        return Ok(Vec::new());
    }
    match json(value)? {
        serde_json::Value::Array(_) => {
            let items = value.try_iter().map_err(|error| Error::schema(error.to_string()))?;
            Ok(items.collect())
        }
        _ => Err(Error::schema("`each` of the manifest found something that is no list")),
    }
}

impl Rule {
    fn event(&self, service: &Service, integration: &str, scope: &Scope) -> Result<Made> {
        let engine = &service.engine;
        let session = name("session", &engine.render(&self.session, scope)?)?;
        if session.is_empty() {
            return Err(Error::schema(format!("The event `{}` is about no place: its `session` is empty", self.name)));
        }
        let mut event =
            tercel_sdk::Event::stored(format!("{integration}:{session}"), engine.render(&self.prompt, scope)?);
        event.name = Some(self.name.clone());
        let thread = self.thread.as_ref().map(|thread| engine.fill(thread, scope)).transpose()?.flatten();
        let thread = thread.map(|thread| thread.as_str().map_or_else(|| thread.to_string(), str::to_owned));
        event.thread = thread.map(|thread| name("thread", &thread)).transpose()?.filter(|thread| !thread.is_empty());
        if let Some(target) = &self.target {
            event.reply_to = Some(Target::new(integration, serde_json::Value::Object(engine.fill_map(target, scope)?)));
        }
        let by = |by: &Expression| -> Result<String> { Ok(engine.text_of(by, scope)?.unwrap_or_default()) };
        if let Some((key, wait, most)) = &self.merge {
            event.merge = Some(Merge { by: by(key)?, wait: *wait, most: *most });
        }
        if let Some((key, pause)) = &self.cooldown {
            event.cooldown = Some(Cooldown { by: by(key)?, pause: *pause });
        }
        event.shelf_life = self.shelf_life;
        match &self.run {
            Does::Store => {}
            Does::Relay => event.relay = true,
            Does::Agent { preamble, skills, tools, model } => {
                let preamble = preamble.as_ref().map(|preamble| engine.render(preamble, scope)).transpose()?;
                let preamble = preamble.filter(|preamble| !preamble.trim().is_empty());
                event.brief =
                    Some(Brief { preamble, skills: skills.clone(), tools: tools.clone(), model: model.clone() });
            }
        }
        Ok(Made { name: self.name.clone(), event })
    }
}

/// What names a place: one line, and not too long to be one.
fn name(what: &str, text: &str) -> Result<String> {
    let line: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.chars().count() > LONGEST_NAME {
        true => Err(Error::schema(format!("The {what} of an event has more than {LONGEST_NAME} characters"))),
        false => Ok(line),
    }
}
