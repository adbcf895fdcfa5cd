//! Lasting conversation places as the server uses them.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tercel_store::Uuid;

/// How a channel behaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Only what mentions its bot is answered.
    pub require_mention: bool,
    /// What is not answered for that reason is kept all the same, and read with the next message that is.
    pub passive_memory: bool,
    /// What bots write is answered, too. Two that answer each other stop only at a ceiling.
    pub allow_bot_messages: bool,
    pub thinking_display: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { require_mention: false, passive_memory: true, allow_bot_messages: false, thinking_display: None }
    }
}

#[derive(Debug, Clone)]
pub struct Channel {
    pub id: Uuid,
    pub client_id: String,
    pub bot_id: String,
    pub display_name: Option<String>,
    pub options: Options,
    /// JSON, secrets sealed.
    pub sealed_target: Option<String>,
    pub created_at: i64,
}

#[derive(Debug, Clone)]
pub struct Binding {
    pub id: Uuid,
    pub channel_id: Uuid,
    pub client_id: String,
    pub display_name: Option<String>,
    /// Event names, `*` at the end matches any rest; absent: all.
    pub event_filter: Option<Vec<String>>,
    /// JSON, secrets sealed.
    pub sealed_target: Option<String>,
    pub created_at: i64,
}

impl Channel {
    pub fn from_row(row: tercel_store::Channel) -> Result<Self> {
        let options = serde_json::from_str(&row.options)
            .with_context(|| format!("The stored options of channel {} cannot be read", row.id))?;
        Ok(Self {
            id: row.id,
            client_id: row.client_id,
            bot_id: row.bot_id,
            display_name: row.display_name,
            options,
            sealed_target: row.sealed_target,
            created_at: row.created_at,
        })
    }

    pub fn into_row(self) -> Result<tercel_store::Channel> {
        Ok(tercel_store::Channel {
            id: self.id,
            client_id: self.client_id,
            bot_id: self.bot_id,
            display_name: self.display_name,
            options: serde_json::to_string(&self.options)?,
            sealed_target: self.sealed_target,
            created_at: self.created_at,
        })
    }
}

impl Binding {
    pub fn from_row(row: tercel_store::Binding) -> Result<Self> {
        let event_filter = row
            .event_filter
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .with_context(|| format!("The stored filter of binding {} cannot be read", row.id))?;
        Ok(Self {
            id: row.id,
            channel_id: row.channel_id,
            client_id: row.client_id,
            display_name: row.display_name,
            event_filter,
            sealed_target: row.sealed_target,
            created_at: row.created_at,
        })
    }

    pub fn wants(&self, event: &str) -> bool {
        let matches = |filter: &String| match filter.strip_suffix('*') {
            Some(prefix) => event.starts_with(prefix),
            None => event == filter || event.split_once('.').is_some_and(|(kind, _)| kind == filter),
        };
        self.event_filter.as_ref().is_none_or(|filters| filters.iter().any(matches))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binding_takes_the_events_of_its_filter() {
        let binding = |filter: Option<&str>| {
            Binding::from_row(tercel_store::Binding {
                id: Uuid::nil(),
                channel_id: Uuid::nil(),
                client_id: "forge:a/b".into(),
                display_name: None,
                event_filter: filter.map(str::to_owned),
                sealed_target: None,
                created_at: 0,
            })
            .unwrap()
        };
        assert!(binding(None).wants("push"));
        let some = binding(Some(r#"["pull_request.opened", "issues", "release.*"]"#));
        assert!(some.wants("pull_request.opened") && some.wants("issues.opened") && some.wants("release.published"));
        assert!(!some.wants("pull_request.closed") && !some.wants("push"));
    }
}
