//! What is typed at the server itself on a place that is bound to others is posted there too, and so is the answer.

use crate::{
    app::{App, Call},
    catalog::Catalog,
    part::within,
    places,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use tercel_sdk::{
    Kind, Target, User,
    host::Ids,
    text::{self, Unit},
};
use tercel_store::{NewOutbox, Uuid, now};

/// The source of messages that people type at the server itself.
pub const SOURCE: &str = "ui";

/// Who typed it, as the client says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Author {
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
    /// What integrations keep about this person, by integration.
    #[schema(value_type = Object)]
    pub integration_config: serde_json::Map<String, Value>,
}

/// Where a channel is bound to: the sealed targets.
pub async fn targets(app: &Arc<App>, origin: &str, channel: Option<Uuid>) -> Vec<String> {
    match channel.filter(|_| origin == SOURCE) {
        Some(channel) => places::all_targets_of(app, channel).await,
        None => Vec::new(),
    }
}

/// The rows that show a message at one target, with the name of who typed it: as the service shows senders, else in the
/// text.
pub async fn message(
    app: &Arc<App>,
    mut row: NewOutbox,
    mut target: Target,
    author: &Author,
    said: &str,
) -> Vec<NewOutbox> {
    let catalog = app.catalog();
    let name = author.display_name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    row.target = crate::outbox::key(&target);
    row.dispatch_type = target.kind.clone();
    let attribution = attribution(app, &catalog, &target.kind, author).await;
    let said = match &attribution {
        Some(_) => said.to_owned(),
        None => format!("[{}] {said}", name.unwrap_or(SOURCE)),
    };
    if let Some(attribution) = attribution {
        target.config.insert("user_attribution".into(), attribution);
    }
    row.sealed_target = app.seal_target(&target);
    cut(&catalog, row, &said)
}

/// One row for each part that a post of this dispatch type can take.
pub fn cut(catalog: &Catalog, row: NewOutbox, said: &str) -> Vec<NewOutbox> {
    let dispatcher = catalog.dispatcher(&row.dispatch_type);
    let (limit, unit) =
        dispatcher.map_or((usize::MAX, Unit::Characters), |dispatcher| (dispatcher.limit, dispatcher.unit));
    let life = dispatcher.and_then(|dispatcher| dispatcher.shelf_life);
    let expires_at = life.map(|life| now().saturating_add(i64::try_from(life.as_micros()).unwrap_or(i64::MAX)));
    let pieces = text::split_by(said, limit, unit);
    let parts = pieces.len() as u32;
    let part = |(text, part)| NewOutbox { id: Uuid::now_v7(), text, part, parts, expires_at, ..row.clone() };
    pieces.into_iter().zip(1..).map(part).collect()
}

/// A message is shown without it rather than not at all.
async fn attribution(app: &Arc<App>, catalog: &Catalog, kind: &str, author: &Author) -> Option<Value> {
    let integration = &catalog.dispatchers.get(kind)?.integration;
    let entry = catalog.integrations.get(integration)?;
    let attribute = entry.integration.user_attribution.clone()?;
    let limit = app.config.limits.hook;
    let ids = Ids { target: Some(Target::new(kind, Value::Null)), ..Ids::default() };
    let host =
        app.host(integration, entry.usual_connection(), Call { ids, timeout: Some(limit), ..Call::default() })?;
    let user = User {
        display_name: author.display_name.clone(),
        avatar_url: author.avatar_url.clone(),
        integration_config: author.integration_config.get(integration).cloned().unwrap_or_default(),
    };
    let asked = async move { attribute(host, serde_json::to_value(&user)?.into()).await };
    let what = format!("The user attribution of `{integration}`");
    let fields = within(limit, &what, Kind::Timeout, asked).await;
    let fields = fields.inspect_err(|error| tracing::warn!(integration, "Nobody says how a sender is shown: {error}"));
    fields.ok().filter(|fields| fields.as_object().is_some_and(|fields| !fields.is_empty()))
}
