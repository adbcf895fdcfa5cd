//! Dispatchers of a worker: how an outbox row becomes a call of `deliver` or `post_message`.

use crate::{
    call::{Part, Risk},
    description::Description,
    worker::Supervisor,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tercel_sdk::{Approval, Call, Dispatcher, Error, Handler, Host, Kind, Outbound, Receipt, Result, text::Unit};

/// How often a dispatcher may say of a message that is no answer that it did not send it: answers wait behind it.
const POSTS: u32 = 3;

pub fn dispatchers(described: &Description, worker: &Supervisor) -> BTreeMap<String, Dispatcher> {
    let described = described.dispatchers.iter().filter(|dispatcher| !dispatcher.kind.is_empty());
    described
        .map(|dispatcher| {
            let risk = if dispatcher.idempotent { Risk::None } else { Risk::Effect };
            let part = |kind| Part { worker: worker.clone(), kind, name: dispatcher.kind.clone(), risk };
            let asks = |kind| Part { risk: Risk::None, ..part(kind) };
            let made = Dispatcher {
                deliver: deliver(part("deliver"), part("post_message")),
                find: dispatcher.find.then(|| find(asks("find"))),
                update: dispatcher.update.then(|| update(asks("update"))),
                start: dispatcher.notify_start.then(|| start(asks("notify_start"))),
                approval: dispatcher.request_approval.then(|| approval(part("request_approval"))),
                limit: dispatcher.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX),
                unit: Unit::Characters,
                idempotent: dispatcher.idempotent,
                shelf_life: None,
            };
            (dispatcher.kind.clone(), made)
        })
        .collect()
}

/// An answer of a run is delivered; what belongs to no run is posted.
fn deliver(delivers: Part, posts: Part) -> Handler {
    handler((delivers, posts), |(delivers, posts), host, call| async move {
        let outbound: Outbound = serde_json::from_value(call["outbound"].clone())?;
        if outbound.task_id.is_some() {
            receipt(&delivers, &delivers.call(&host, &delivery(&delivers, &host, &call, &outbound)).await?)
        } else {
            let answer = posts.call(&host, &post(&call, &outbound)).await?;
            receipt(&posts, &answer).map_err(|error| if outbound.attempt < POSTS { error } else { in_vain(&posts) })
        }
    })
}

fn find(part: Part) -> Handler {
    handler(part, |part, host, call| async move {
        let outbound: Outbound = serde_json::from_value(call["outbound"].clone())?;
        part.call(&host, &delivery(&part, &host, &call, &outbound)).await
    })
}

/// What says that it did not change the post cannot change it: the answer is posted.
fn update(part: Part) -> Handler {
    handler(part, |part, host, call| async move {
        let outbound: Outbound = serde_json::from_value(call["outbound"].clone())?;
        let mut arguments = delivery(&part, &host, &call, &outbound);
        arguments["id"] = call["receipt"]["id"].clone();
        let answer = part.call(&host, &arguments).await?;
        match answer["sent"] == json!(false) {
            true => Err(Error::new(Kind::NotFound, format!("`update` of the dispatcher `{}` says no", part.name))),
            false => Ok(Value::Null),
        }
    })
}

fn start(part: Part) -> Handler {
    handler(part, |part, host, call| async move {
        let task = task(&part, &host, &call["target"], &Value::Null);
        let mut answer = part.call(&host, &json!({ "task": task })).await?;
        Ok(answer.get_mut("dispatch_config").map(Value::take).unwrap_or_default())
    })
}

fn approval(part: Part) -> Handler {
    handler(part, |part, host, call| async move {
        let Approval { id, bot_id, tool, arguments, reason } = serde_json::from_value(call["approval"].clone())?;
        let arguments = json!({
            "dispatch_config": call["target"],
            "approval_id": id,
            "bot_id": bot_id,
            "tool_name": tool,
            "arguments": arguments,
            "reason": reason,
        });
        part.call(&host, &arguments).await
    })
}

fn handler<P, F, Fut>(part: P, function: F) -> Handler
where
    P: Clone + Send + Sync + 'static,
    F: Fn(P, Host, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    Arc::new(move |host: Host, call: Call| Box::pin(function(part.clone(), host, call.json)))
}

fn delivery(part: &Part, host: &Host, call: &Value, outbound: &Outbound) -> Value {
    json!({
        "task": task(part, host, &call["target"], &json!(outbound.bot_id)),
        "result": outbound.text,
        "client_actions": actions(outbound),
        "extra_metadata": null,
        "outbound": of(outbound),
    })
}

fn post(call: &Value, outbound: &Outbound) -> Value {
    let target = &call["target"];
    json!({
        "dispatch_config": target,
        "text": outbound.text,
        "bot_id": outbound.bot_id,
        "reply_in_thread": target.get("reply_in_thread").and_then(Value::as_bool).unwrap_or(true),
        "username": attribution(target, "username"),
        "icon_emoji": attribution(target, "icon_emoji"),
        "icon_url": attribution(target, "icon_url"),
        "client_actions": actions(outbound),
        "extra_metadata": null,
        "outbound": of(outbound),
    })
}

/// Who typed it, as `user_attribution` said.
fn attribution<'a>(target: &'a Value, key: &str) -> Option<&'a Value> {
    target.get("user_attribution")?.get(key)
}

fn task(part: &Part, host: &Host, target: &Value, bot: &Value) -> Value {
    let ids = host.ids();
    json!({
        "id": ids.task,
        "bot_id": ids.bot.as_ref().map_or_else(|| bot.clone(), |bot| json!(bot)),
        "client_id": ids.client_id,
        "session_id": ids.session,
        "channel_id": ids.channel,
        "dispatch_type": part.name,
        "dispatch_config": target,
    })
}

fn actions(outbound: &Outbound) -> Option<&[Value]> {
    Some(outbound.client_actions.as_slice()).filter(|actions| !actions.is_empty())
}

fn of(outbound: &Outbound) -> Value {
    let Outbound { id, marker, part, parts, attempt, created_at, .. } = outbound;
    json!({"id": id, "marker": marker, "part": part, "parts": parts, "attempt": attempt, "created_at": created_at})
}

/// `sent` is true, null for "sent, and nobody said so", or false.
fn receipt(part: &Part, answer: &Value) -> Result<Value> {
    if answer["sent"] == json!(false) {
        let error = Error::new(Kind::Network, format!("The dispatcher `{}` says that it did not send this", part.name));
        return Err(error.hint("Its log may say why"));
    }
    let receipt: Receipt = match answer.get("receipt") {
        None | Some(Value::Null) => Receipt::default(),
        Some(receipt) => serde_json::from_value(receipt.clone()).unwrap_or_default(),
    };
    Ok(serde_json::to_value(receipt)?)
}

fn in_vain(part: &Part) -> Error {
    let message =
        format!("`post_message` of the dispatcher `{}` said {POSTS} times that it did not send this", part.name);
    Error::new(Kind::Unsupported, message).hint("Its log may say why; answers of runs leave by `deliver`")
}
