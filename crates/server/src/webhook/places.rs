//! Where an event goes: the conversations it reaches, and whether a bot answers there.

use super::dedupe::short_key;
use crate::{
    app::App,
    bot::Bot,
    catalog::{Catalog, DEFAULT},
    ceilings,
    channel::Channel,
    mirror, outbox,
    runner::RunConfig,
};
use std::{sync::Arc, time::Duration};
use tercel_sdk::{Event, Target, Trust};
use tercel_store::{
    Item, NewMessage, NewOutbox, NewTask, SessionRef, Uuid,
    accept::{Busy, Cooldown, Fewer, Merge},
    now,
};

/// What becomes of an event, and why, if that is nothing. `reaches`: there is a place that wants events of its name.
pub(super) fn outcome(items: &[Item], reaches: bool, name: &str) -> (&'static str, Option<String>) {
    match items.iter().any(|item| item.task.is_some()) {
        true => ("run", None),
        false if !items.is_empty() => ("stored", None),
        false if reaches => {
            ("ignored", Some("It mentions no bot, and no channel keeps what it does not answer".into()))
        }
        false => ("ignored", Some(format!("No binding of its place has `{name}` in its event_filter"))),
    }
}

pub(super) fn reaches(app: &App, name: &str, event: &Event) -> bool {
    !places(&app.catalog(), name, event).is_empty()
}

/// One item for every channel that the event reaches; where none is bound, for the bot it names.
pub(super) fn items(app: &App, source: (&str, &str), name: &str, event: Event) -> Vec<Item> {
    let (catalog, (integration, connection)) = (app.catalog(), source);
    let reply_to = event.reply_to.as_ref().map(|target| {
        let is_own = catalog.dispatchers.get(&target.kind).is_some_and(|owned| owned.integration == integration);
        let back = Some(connection.to_owned()).filter(|_| is_own && connection != DEFAULT);
        app.seal_target(&Target { connection: target.connection.clone().or(back), ..target.clone() })
    });
    let places = places(&catalog, name, &event);
    let name = event.name.as_deref().unwrap_or(name);
    let mut metadata = serde_json::json!({"event": name, "from": event.from});
    if connection != DEFAULT {
        metadata["connection"] = connection.into();
    }
    let metadata = metadata.to_string();
    let is_meant = |place: &Place| {
        let bot = catalog.bots.get(&place.bot_id);
        place.channel.as_ref().is_none_or(|channel| is_addressed(channel, bot, &event.text))
    };
    let is_kept = |place: &Place| place.channel.as_ref().is_none_or(|channel| channel.options.passive_memory);
    places
        .into_iter()
        .filter(|place| is_kept(place) || is_meant(place))
        .map(|place| {
            let bot = catalog.bots.get(&place.bot_id);
            let model = event.brief.as_ref().and_then(|brief| brief.model.as_deref());
            let (_, rehearse) = app.model_of(model.or(bot.and_then(|bot| bot.model.as_deref())));
            let brief = event.brief.as_ref().filter(|_| is_meant(&place) && may_answer(&place, &event));
            let task = brief.map(|brief| NewTask {
                id: Uuid::now_v7(),
                bot_id: place.bot_id.clone(),
                channel_id: place.channel.as_ref().map(|channel| channel.id),
                origin: integration.into(),
                execution_config: serde_json::to_string(&RunConfig {
                    brief: brief.clone(),
                    expires_at: event.shelf_life.map(|life| now().saturating_add(micros(life))),
                    ..RunConfig::default()
                })
                .ok(),
                sealed_target: reply_to.clone(),
                rehearse,
                fewer: fewer(app, source, name, &place, &event),
            });
            let shown = relayed(app, &catalog, &place, &event, reply_to.as_ref());
            Item {
                ceilings: ceilings::of_run(app, &place.bot_id, integration, &place.client_id, rehearse),
                session: SessionRef::Key {
                    client_id: place.client_id,
                    bot_id: place.bot_id,
                    thread: place.thread,
                    channel_id: place.channel.map(|channel| channel.id),
                },
                message: NewMessage {
                    id: Uuid::now_v7(),
                    role: "user",
                    content: event.text.clone(),
                    source: Some(integration.into()),
                    trusted: event.trust == Trust::Trusted,
                    hops: 0,
                    metadata: Some(metadata.clone()),
                    attachments: Vec::new(),
                },
                task,
                busy: Busy::Enqueue,
                shown,
            }
        })
        .collect()
}

/// The rows by which the text of an event leaves that no agent is asked about.
fn relayed(app: &App, catalog: &Catalog, place: &Place, event: &Event, reply_to: Option<&String>) -> Vec<NewOutbox> {
    if !event.relay {
        return Vec::new();
    }
    let of_channel = || crate::places::known_target_of(app, place.channel.as_ref()?.id);
    let sealed = reply_to.cloned().or_else(of_channel);
    let Some((sealed, target)) = sealed.and_then(|sealed| Some((sealed.clone(), app.open_target(&sealed).ok()?)))
    else {
        return Vec::new();
    };
    if target.kind == "none" {
        return Vec::new();
    }
    let row = NewOutbox {
        id: Uuid::nil(),
        target: outbox::key(&target),
        task_id: None,
        session_id: None,
        bot_id: place.bot_id.clone(),
        dispatch_type: target.kind,
        sealed_target: sealed,
        text: String::new(),
        part: 1,
        parts: 1,
        hops: 1,
        rehearse: app.config.rehearse.is_some(),
        expires_at: None,
    };
    mirror::cut(catalog, row, &event.text)
}

/// Events are alike within their place and thread, for the bot that answers there by the same connection.
fn fewer(app: &App, (integration, connection): (&str, &str), name: &str, place: &Place, event: &Event) -> Fewer {
    let key = |kind: &str, by: &str| {
        let (place, thread, bot) = (place.client_id.as_str(), place.thread.as_str(), place.bot_id.as_str());
        let pieces = [integration, connection, name, place, thread, bot, by];
        short_key(kind, &pieces.map(str::as_bytes))
    };
    Fewer {
        merge: event.merge.as_ref().map(|merge| Merge {
            key: key("merge", &merge.by),
            // Nobody waits for others in a rehearsal: there are none.
            wait: if app.config.rehearse.is_some() { 0 } else { micros(merge.wait) },
            most: merge.most,
        }),
        cooldown: event
            .cooldown
            .as_ref()
            .map(|cooldown| Cooldown { key: key("cooldown", &cooldown.by), pause: micros(cooldown.pause) }),
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// What bots write is answered only where somebody said so.
fn may_answer(place: &Place, event: &Event) -> bool {
    !event.by_bot || place.channel.as_ref().is_some_and(|channel| channel.options.allow_bot_messages)
}

struct Place {
    client_id: String,
    thread: String,
    bot_id: String,
    channel: Option<Arc<Channel>>,
}

fn places(catalog: &Catalog, name: &str, event: &Event) -> Vec<Place> {
    let name = event.name.as_deref().unwrap_or(name);
    let thread = event.thread.clone().unwrap_or_default();
    let own = catalog.channels.get(&event.from).cloned();
    let mut places: Vec<Place> = own
        .into_iter()
        .map(|channel| Place {
            client_id: event.from.clone(),
            thread: thread.clone(),
            bot_id: channel.bot_id.clone(),
            channel: Some(channel),
        })
        .collect();
    let bindings = catalog.bindings.get(&event.from).map(Vec::as_slice).unwrap_or_default();
    let bound = bindings.iter().filter_map(|binding| Some((binding, catalog.channel(binding.channel_id)?)));
    let mut is_bound = !places.is_empty();
    for (binding, channel) in bound {
        is_bound = true;
        if binding.wants(name) && channel.client_id != event.from {
            // Two places bound to one channel may both have a thread `pr/1`.
            let thread = if thread.is_empty() { String::new() } else { format!("{}/{thread}", event.from) };
            let bot_id = channel.bot_id.clone();
            places.push(Place { client_id: channel.client_id.clone(), thread, bot_id, channel: Some(channel.clone()) });
        }
    }
    if !is_bound {
        let bot_id = event.bot.clone().unwrap_or_else(|| DEFAULT.into());
        places.push(Place { client_id: event.from.clone(), thread, bot_id, channel: None });
    }
    places
}

/// A channel that wants to be mentioned keeps what does not mention its bot, and answers the rest.
fn is_addressed(channel: &Channel, bot: Option<&Arc<Bot>>, text: &str) -> bool {
    if !channel.options.require_mention {
        return true;
    }
    let text = text.to_lowercase();
    let names = bot.into_iter().flat_map(|bot| [Some(&bot.id), bot.name.as_ref(), bot.display_name.as_ref()]).flatten();
    names.into_iter().any(|name| mentions(&text, &name.to_lowercase()))
}

/// Whether `@name` stands in the text as a whole: `@rev` is not in `@reviewer`, nor in `me@rev.example`.
fn mentions(text: &str, name: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    let is_whole = |at: usize, mention: &str| {
        let mut after = text[at + mention.len()..].chars();
        let ends = match after.next() {
            // A name may have these inside, and a sentence ends with one.
            Some('-' | '.') => !after.next().is_some_and(goes_on),
            Some(next) => !goes_on(next),
            None => true,
        };
        ends && !text[..at].chars().next_back().is_some_and(goes_on)
    };
    !name.is_empty() && text.match_indices(&format!("@{name}")).any(|(at, mention)| is_whole(at, mention))
}
