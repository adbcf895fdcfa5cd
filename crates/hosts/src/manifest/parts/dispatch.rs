//! How answers leave.

use super::{
    markdown,
    schema::{self, Object},
};
use crate::manifest::{
    call::{Action, Service, Shared, moment},
    compile::{Attempts, Compiler},
    keys::{self, At, Entries, Format, Over},
    template::{Expression, Names, Scope, value},
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use tercel_sdk::{
    Call, Dispatcher, Handler, Host, Outbound, Receipt, Result,
    dispatch::STREAM,
    text::{self, Unit},
};

/// Dispatch types that the server has anyway.
const OWN: [&str; 3] = ["none", "webhook", "internal"];

pub struct Dispatch {
    target: Object,
    limit: Option<usize>,
    unit: Unit,
    over: Over,
    format: Format,
    shelf_life: Option<Duration>,
    deliver: Post,
    post_message: Option<Post>,
    file: Option<Post>,
    find: Option<Find>,
    update: Option<Action>,
    start: Option<Action>,
}

struct Post {
    action: Action,
    id: Option<Expression>,
    url: Option<Expression>,
}

struct Find {
    action: Action,
    found: Expression,
    id: Option<Expression>,
}

pub fn compile(c: &mut Compiler) -> Option<Dispatch> {
    let keys = c.keys.dispatch.as_ref()?;
    let at = c.keys.name.at;
    if OWN.contains(&c.id) {
        c.wrong(
            at,
            format!("`{}` is a dispatch type of the server's own: with `dispatch`, it needs another name", c.id),
        );
    }
    let names = c.names().without("secrets");
    let properties = properties(c, keys);
    let target = schema::compile(c, "A property of `target`", &properties, Some(&names))?;
    let names = c.names().only("target", target.names()).only("task", ["id", "session_id"]).only("bot", ["id", "name"]);
    let posts = names
        .clone()
        .any("text")
        .any("key")
        .any("marker")
        .any("part")
        .any("parts")
        .only("created_at", ["unix", "date"]);
    let limit = keys.text.limit.as_ref();
    if let Some(limit) = limit.filter(|limit| limit.value < 16) {
        c.wrong(limit.at, "`limit` is at least 16");
    }
    if keys.text.over != Over::Split && limit.is_none() {
        c.wrong(at, "`text.over` needs `text.limit`");
    }
    if (keys.text.over == Over::File) != keys.file.is_some() {
        c.wrong(at, "`text.over: file` and the request `file` go together");
    }
    let deliver = post(c, &keys.deliver, &posts);
    let post_message = keys.post_message.as_ref().map(|keys| post(c, keys, &posts));
    let file = keys.file.as_ref().map(|keys| post(c, keys, &posts));
    let find = keys.find.as_ref().map(|keys| find(c, keys, &posts));
    let update = keys.update.as_ref().map(|update| {
        if keys.text.over == Over::File {
            c.wrong(at, "`update` does not go with `text.over: file`: no post becomes a file");
        }
        if keys.deliver.id.is_none() {
            c.wrong(at, "`update` needs the `id` of `deliver`: it says which post is meant");
        }
        if update.idempotency.is_some() {
            c.wrong(at, "`update` needs no `idempotency`: done twice it is the same");
        }
        let Some(request) = update.request() else {
            c.wrong(at, "`update` needs a request");
            return None;
        };
        c.action(&request, &posts.clone().any("id").any("url"), Attempts::One)
    });
    let start = keys.start.as_ref().map(|start| {
        let Some(request) = start.request() else {
            c.wrong(at, "`start` needs a request");
            return None;
        };
        c.action(&request, &names, Attempts::One)
    });
    Some(Dispatch {
        target,
        limit: limit.map(|limit| limit.value),
        unit: match keys.text.unit {
            keys::Unit::Characters => Unit::Characters,
            keys::Unit::Bytes => Unit::Bytes,
            keys::Unit::Utf16 => Unit::Utf16,
        },
        over: keys.text.over,
        format: keys.text.format,
        shelf_life: keys.shelf_life.map(|span| span.0),
        deliver: deliver?,
        post_message: post_message.flatten(),
        file: file.flatten(),
        find: find.flatten(),
        update: update.flatten(),
        start: start.flatten(),
    })
}

/// What a target says, and whether it wants answers while they are written.
fn properties(c: &mut Compiler, keys: &keys::Dispatch) -> Entries<At<Value>> {
    let mut properties = keys.target.clone();
    if keys.update.is_some() {
        if let Some((_, own)) = properties.0.iter().find(|(name, _)| name == STREAM) {
            c.wrong(own.at, format!("With `update`, a target has a `{STREAM}` that is not the manifest's own"));
            return properties;
        }
        let at = c.keys.name.at;
        let value = json!({"type": "boolean", "description": "Shows answers while they are written", "default": false});
        properties.0.push((STREAM.into(), At { value, at }));
    }
    properties
}

fn post(c: &mut Compiler, keys: &keys::Deliver, names: &Names) -> Option<Post> {
    let Some(request) = keys.request() else {
        let at = c.keys.name.at;
        c.wrong(at, "`dispatch` needs a request: what is posted");
        return None;
    };
    let action = c.action(&request, names, Attempts::One)?;
    let answered = after(names, &action);
    Some(Post { id: c.maybe(keys.id.as_ref(), &answered), url: c.maybe(keys.url.as_ref(), &answered), action })
}

fn find(c: &mut Compiler, keys: &keys::Find, names: &Names) -> Option<Find> {
    let Some(request) = keys.request() else {
        c.wrong(keys.found.at, "`find` needs a request");
        return None;
    };
    let action = c.action(&request, names, Attempts::One)?;
    let answered = after(names, &action);
    let found = c.expr(&keys.found, &answered)?;
    Some(Find { id: c.maybe(keys.id.as_ref(), &answered.any("found")), found, action })
}

fn after(names: &Names, action: &Action) -> Names {
    let before = action.before.iter().map(|(name, _)| name.clone());
    names.clone().answered().only("before", before)
}

pub fn part(service: Shared, dispatch: Dispatch) -> Dispatcher {
    let dispatch = Arc::new(dispatch);
    let is_split = dispatch.over == Over::Split;
    Dispatcher {
        deliver: handler(&service, &dispatch, |service, dispatch, host, call| async move {
            let (outbound, mut scope) = dispatch.scope(&service, &host, &call)?;
            let post = dispatch.choose(&outbound);
            scope.set("text", dispatch.text(&outbound, post));
            service.act(&host, &post.action, &mut scope, &Default::default()).await?;
            // It was posted: what cannot be read of the answer changes nothing.
            let read = |expression: &Option<Expression>| {
                expression.as_ref().and_then(|expression| service.engine.text_of(expression, &scope).ok().flatten())
            };
            Ok(serde_json::to_value(Receipt { id: read(&post.id), url: read(&post.url) })?)
        }),
        find: dispatch.find.is_some().then(|| {
            handler(&service, &dispatch, |service, dispatch, host, call| async move {
                let (outbound, mut scope) = dispatch.scope(&service, &host, &call)?;
                scope.set("text", dispatch.text(&outbound, dispatch.choose(&outbound)));
                let Some(find) = &dispatch.find else { return Ok(Value::Null) };
                let answer = service.act(&host, &find.action, &mut scope, &Default::default()).await?;
                let found = service.pick(&find.found, &scope, &answer)?;
                if !found.is_true() {
                    return Ok(Value::Null);
                }
                scope.set("found", found);
                let id = find.id.as_ref().map(|id| service.engine.text_of(id, &scope)).transpose()?.flatten();
                Ok(serde_json::to_value(Receipt { id, url: None })?)
            })
        }),
        update: dispatch.update.is_some().then(|| {
            handler(&service, &dispatch, |service, dispatch, host, call| async move {
                let (outbound, mut scope) = dispatch.scope(&service, &host, &call)?;
                scope.set("text", dispatch.text(&outbound, &dispatch.deliver));
                scope.set("id", value(&call["receipt"]["id"]));
                scope.set("url", value(&call["receipt"]["url"]));
                if let Some(action) = &dispatch.update {
                    service.act(&host, action, &mut scope, &Default::default()).await?;
                }
                Ok(Value::Null)
            })
        }),
        start: dispatch.start.is_some().then(|| {
            handler(&service, &dispatch, |service, dispatch, host, call| async move {
                let target = call["target"].clone();
                if let Some(action) = &dispatch.start {
                    let mut scope = dispatch.target_scope(&service, &host, &call)?;
                    service.act(&host, action, &mut scope, &Default::default()).await?;
                }
                Ok(target)
            })
        }),
        approval: None,
        limit: dispatch.limit.filter(|_| is_split).unwrap_or(usize::MAX),
        unit: dispatch.unit,
        idempotent: dispatch.deliver.action.idempotency.is_some(),
        shelf_life: dispatch.shelf_life,
    }
}

fn handler<F, Fut>(service: &Shared, dispatch: &Arc<Dispatch>, function: F) -> Handler
where
    F: Fn(Shared, Arc<Dispatch>, Host, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    let (service, dispatch) = (service.clone(), dispatch.clone());
    Arc::new(move |host: Host, call: Call| Box::pin(function(service.clone(), dispatch.clone(), host, call.json)))
}

impl Dispatch {
    /// With all that is known of the post.
    fn scope(&self, service: &Service, host: &Host, call: &Value) -> Result<(Outbound, Scope)> {
        let outbound: Outbound = serde_json::from_value(call["outbound"].clone())?;
        let mut scope = self.target_scope(service, host, call)?;
        let name = outbound.bot_name.as_deref().unwrap_or(&outbound.bot_id);
        scope.set("bot", value(&json!({"id": outbound.bot_id, "name": name})));
        scope.set("task", value(&json!({"id": outbound.task_id, "session_id": outbound.session_id})));
        scope.set("key", outbound.id.to_string());
        scope.set("marker", outbound.marker.clone());
        scope.set("part", outbound.part);
        scope.set("parts", outbound.parts);
        scope.set("created_at", moment::at(&outbound.created_at));
        Ok((outbound, scope))
    }

    fn target_scope(&self, service: &Service, host: &Host, call: &Value) -> Result<Scope> {
        let scope = service.scope(host);
        let known = self.target.names();
        // What else stands in it is for others: who typed a message, for example.
        let given = call["target"].as_object().into_iter().flatten().filter(|(key, _)| known.contains(key));
        let mut given: Map<String, Value> = given.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.target.complete(&service.engine, &mut given, &scope)?;
        let target = Value::Object(given);
        self.target.check("The dispatch_config", &target)?;
        let ids = host.ids();
        let bot = ids.bot.as_deref().unwrap_or_default();
        Ok(scope
            .with("target", value(&target))
            .with("bot", value(&json!({"id": bot, "name": bot})))
            .with("task", value(&json!({"id": ids.task, "session_id": ids.session}))))
    }

    fn choose(&self, outbound: &Outbound) -> &Post {
        let is_long = self.limit.is_some_and(|limit| self.unit.length(&outbound.text) > limit);
        match (&self.file, &self.post_message) {
            (Some(file), _) if is_long => file,
            (_, Some(post)) if outbound.task_id.is_none() => post,
            _ => &self.deliver,
        }
    }

    fn text(&self, outbound: &Outbound, post: &Post) -> String {
        if self.file.as_ref().is_some_and(|file| std::ptr::eq(file, post)) {
            return outbound.text.clone();
        }
        let said = match (self.over, self.limit) {
            (Over::Cut, Some(limit)) => text::cut_by(&outbound.text, limit, self.unit),
            _ => outbound.text.clone(),
        };
        match self.format {
            Format::Markdown => said,
            Format::Plain => markdown::plain(&said),
            Format::Html => markdown::html(&said),
        }
    }
}
