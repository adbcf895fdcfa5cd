//! A managed hook: what it wants, and how its requests are signed.

use crate::app::App;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, time::SystemTime};
use tercel_sdk::Scheme;
use tercel_store::{Hook, HookEvent, Sealer, Store, Uuid, now};

/// What a hook wants; what is absent is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wants {
    /// Names; all when there are none.
    pub events: BTreeSet<String>,
    pub bot_id: Option<String>,
    /// Runs that it started.
    pub integration: Option<String>,
    pub channel_id: Option<Uuid>,
}

impl Wants {
    pub fn of(hook: &Hook) -> Self {
        serde_json::from_str(&hook.wants).unwrap_or_default()
    }

    pub fn has(&self, event: &str) -> bool {
        self.events.is_empty() || self.events.contains(event)
    }

    pub fn takes(&self, event: &HookEvent) -> bool {
        let fits = |wanted: &Option<String>, given: &Option<String>| wanted.is_none() || wanted == given;
        self.has(&event.event)
            && fits(&self.bot_id, &event.bot_id)
            && fits(&self.integration, &event.origin)
            && (self.channel_id.is_none() || self.channel_id == event.channel_id)
    }
}

/// As Standard Webhooks writes it.
pub fn new_secret() -> String {
    format!("whsec_{}", BASE64.encode(rand::random::<[u8; 32]>()))
}

/// Where both secrets of a hook are bound to, for their seals.
pub fn place(id: Uuid) -> String {
    format!("hooks/{id}/secret")
}

/// The secrets of all hooks, as far as they can be opened.
pub async fn secrets(store: &Store, sealer: &Sealer) -> tercel_store::Result<Vec<String>> {
    let mut secrets = Vec::new();
    for hook in store.hooks().await? {
        let sealed = [Some(hook.sealed_secret), hook.sealed_old_secret].into_iter().flatten();
        secrets.extend(sealed.filter_map(|sealed| sealer.open(&place(hook.id), &sealed).ok()));
    }
    Ok(secrets)
}

/// The notice that a hook does not get through.
pub fn notice(id: Uuid) -> String {
    format!("hook:{id}")
}

/// Headers that prove a request. While two secrets count, either of them proves it.
///
/// # Errors
/// When a secret cannot be opened.
pub fn signed(app: &App, hook: &Hook, id: Uuid, body: &[u8]) -> tercel_store::Result<HeaderMap> {
    let (place, time) = (place(hook.id), SystemTime::now());
    let sign = |sealed: &str| {
        let secret = app.sealer.open(&place, sealed)?;
        Ok::<_, tercel_store::Error>(Scheme::standard(&secret).sign_as(&id.to_string(), body, time))
    };
    let mut headers = sign(&hook.sealed_secret)?;
    let old = hook.sealed_old_secret.as_ref().filter(|_| hook.old_until.is_some_and(|until| until > now()));
    if let Some(old) = old {
        let signatures = [headers["webhook-signature"].clone(), sign(old)?["webhook-signature"].clone()];
        let both = [signatures[0].as_bytes(), signatures[1].as_bytes()].join(&b' ');
        headers.insert("webhook-signature", both.try_into().expect("signatures are Base64"));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_takes_what_fits_all_that_it_names() {
        let channel = Uuid::from_u128(7);
        let event = HookEvent {
            seq: 1,
            id: Uuid::nil(),
            event: "after_tool_call".into(),
            origin: Some("forge".into()),
            bot_id: Some("default".into()),
            channel_id: Some(channel),
            body: String::new(),
            created_at: 0,
        };
        let takes = |json: serde_json::Value| serde_json::from_value::<Wants>(json).unwrap().takes(&event);
        let wants = |field: &str, value: serde_json::Value| {
            let mut wants = serde_json::to_value(Wants::default()).unwrap();
            wants[field] = value;
            takes(wants)
        };
        assert!(takes(serde_json::to_value(Wants::default()).unwrap()));
        assert!(wants("events", serde_json::json!(["after_tool_call", "after_response"])));
        assert!(!wants("events", serde_json::json!(["after_response"])));
        assert!(wants("bot_id", "default".into()) && !wants("bot_id", "other".into()));
        assert!(wants("integration", "forge".into()) && !wants("integration", "api".into()));
        assert!(wants("channel_id", channel.to_string().into()));
        assert!(!wants("channel_id", Uuid::nil().to_string().into()));
    }
}
