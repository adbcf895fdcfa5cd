//! By what a row leaves: the server itself, or the part of an integration.

use super::core;
use crate::{
    app::{App, Call},
    connection::choice,
    part::within,
    queue::patiently,
};
use chrono::{DateTime, SecondsFormat};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tercel_sdk::{Dispatcher, Error, Host, Kind, Mode, Outbound, Receipt, Result, Target, host::Ids};
use tercel_store::{OutboxRow, Uuid};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The run that a row belongs to, as dispatchers see it.
#[derive(Default)]
pub struct About {
    client_id: Option<String>,
    channel: Option<Uuid>,
    client_actions: Vec<Value>,
}

impl About {
    pub async fn read(app: &App, row: &OutboxRow, target: &Target) -> tercel_store::Result<Self> {
        let Some(session) = row.session_id.filter(|_| !core::TYPES.contains(&target.kind.as_str())) else {
            return Ok(Self::default());
        };
        let session = patiently("Reading a session", || app.store.session(session)).await?;
        let client_actions = match row.task_id.filter(|_| row.part == row.parts && row.part > 0) {
            Some(task) => patiently("Reading the steps of a run", || app.store.tool_steps(task)).await?,
            None => Vec::new(),
        };
        let action = |step: String| {
            let step: Value = serde_json::from_str(&step).ok()?;
            Some(step["output"].get("client_action")?.clone()).filter(|action| !action.is_null())
        };
        Ok(Self {
            channel: session.as_ref().and_then(|session| session.channel_id),
            client_id: session.map(|session| session.client_id),
            client_actions: client_actions.into_iter().filter_map(action).collect(),
        })
    }
}

/// How a row leaves.
pub enum Way {
    Webhook,
    Internal,
    Part { dispatcher: Dispatcher, host: Host, outbound: Box<Outbound> },
}

impl Way {
    /// # Errors
    /// An unknown dispatch type.
    pub fn of(app: &Arc<App>, row: &OutboxRow, target: &Target, about: About) -> Result<Self> {
        match target.kind.as_str() {
            "webhook" => return Ok(Self::Webhook),
            "internal" => return Ok(Self::Internal),
            _ => {}
        }
        let catalog = app.catalog();
        let owned = catalog.dispatchers.get(&target.kind);
        let ids = Ids {
            task: row.task_id,
            session: row.session_id,
            channel: about.channel,
            bot: Some(row.bot_id.clone()),
            client_id: about.client_id,
            target: serde_json::from_value(app.masked_target(Some(&row.sealed_target))).ok(),
            ..Ids::default()
        };
        let call = Call {
            ids,
            mode: Mode::Live,
            idempotency_key: Some(row.id.to_string()),
            timeout: Some(app.config.limits.dispatcher),
            ..Call::default()
        };
        let entry = owned.and_then(|owned| catalog.integrations.get(&owned.integration));
        let connection = entry.map(|entry| choice::of_target(entry, target)).transpose()?;
        match owned.zip(connection).and_then(|(owned, name)| Some((owned, app.host(&owned.integration, name, call)?))) {
            Some((owned, host)) => {
                let dispatcher = owned.dispatcher.clone();
                let outbound = Outbound { client_actions: about.client_actions, ..outbound(app, row) };
                Ok(Self::Part { dispatcher, host, outbound: Box::new(outbound) })
            }
            None if catalog.absent.contains_key(&target.kind) => {
                let name = &catalog.absent[&target.kind];
                let obstacle = catalog.integrations.get(name).and_then(|entry| entry.listed.obstacle());
                let obstacle = obstacle.unwrap_or_else(|| format!("`{name}` cannot be used now"));
                Err(Error::not_configured(format!("The answer waits: {obstacle}")))
            }
            None => {
                let known: Vec<&str> =
                    core::TYPES.into_iter().chain(catalog.dispatchers.keys().map(String::as_str)).collect();
                Err(Error::new(Kind::NotFound, format!("There is no dispatch type `{}`", target.kind))
                    .hint(format!("Known are {}", known.join(", "))))
            }
        }
    }

    pub fn idempotent(&self) -> bool {
        match self {
            Self::Webhook | Self::Internal => true,
            Self::Part { dispatcher, .. } => dispatcher.idempotent,
        }
    }

    pub fn can_update(&self) -> bool {
        matches!(self, Self::Part { dispatcher, .. } if dispatcher.update.is_some())
    }

    pub fn can_find(&self) -> bool {
        matches!(self, Self::Part { dispatcher, .. } if dispatcher.find.is_some())
    }

    /// `None` when it cannot be looked for.
    pub async fn find(&self, app: &App, target: &Target) -> Option<Result<Option<Receipt>>> {
        let Self::Part { dispatcher, host, outbound } = self else { return None };
        let find = dispatcher.find.clone()?;
        let (host, call) = (host.clone(), Dispatcher::call(target, outbound));
        let what = format!("Looking for it by `{}`", target.kind);
        let found = async move { find(host, call).await };
        let found = within(app.config.limits.dispatcher, &what, Kind::Timeout, found).await;
        Some(found.and_then(|value| Ok(serde_json::from_value(value)?)))
    }

    /// Gives a post the text of the row. `None` when no post can be changed.
    pub async fn update(&self, target: &Target, receipt: &Receipt, limit: Duration) -> Option<Result<()>> {
        let Self::Part { dispatcher, host, outbound } = self else { return None };
        let update = dispatcher.update.clone()?;
        let (host, call) = (host.clone(), Dispatcher::update_call(target, outbound, receipt));
        let what = format!("Changing a post by `{}`", target.kind);
        Some(within(limit, &what, Kind::UnknownOutcome, async move { update(host, call).await }).await.map(drop))
    }

    pub async fn deliver(&self, app: &Arc<App>, row: &OutboxRow, target: &Target) -> Result<Receipt> {
        let what = format!("Sending by `{}`", target.kind);
        let limit = app.config.limits.dispatcher;
        let late = |_| Error::new(Kind::UnknownOutcome, format!("{what} took longer than {} seconds", limit.as_secs()));
        let cancel = CancellationToken::new();
        match self {
            Self::Webhook => timeout(limit, core::webhook(app, row, target, &cancel)).await.map_err(late)?,
            Self::Internal => timeout(limit, core::internal(app, row, target)).await.map_err(late)?,
            Self::Part { dispatcher, host, outbound } => {
                let (deliver, host) = (dispatcher.deliver.clone(), host.clone());
                let call = Dispatcher::call(target, outbound);
                let sent = within(limit, &what, Kind::UnknownOutcome, async move { deliver(host, call).await }).await;
                // The post was made; that its receipt is odd changes nothing.
                sent.map(|receipt| serde_json::from_value(receipt).unwrap_or_default())
            }
        }
    }
}

fn outbound(app: &App, row: &OutboxRow) -> Outbound {
    Outbound {
        id: row.id,
        marker: app.sealer.marker(row.id),
        text: row.text.clone(),
        // The beginning of an answer is the first part of it, and may stay the only one.
        part: row.part.max(1) as u32,
        parts: row.parts.max(1) as u32,
        attempt: row.attempts as u32,
        bot_id: row.bot_id.clone(),
        bot_name: app.catalog().bots.get(&row.bot_id).and_then(|bot| bot.display_name.clone().or(bot.name.clone())),
        task_id: row.task_id,
        session_id: row.session_id,
        created_at: DateTime::from_timestamp_micros(row.created_at)
            .map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
            .unwrap_or_default(),
        client_actions: Vec::new(),
    }
}
