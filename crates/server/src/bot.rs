//! Configured agents.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A bot as it is written in a seed file, sent to the API and stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Bot {
    /// `^[A-Za-z0-9_-]{1,64}$`
    pub id: String,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub display_name: Option<String>,
    #[serde(default)]
    pub avatar_url: Option<String>,
    /// The server's model when absent.
    #[serde(default)]
    pub model: Option<String>,
    /// Tried in turn when the model does not answer.
    #[serde(default)]
    pub fallback_models: Vec<String>,
    #[serde(default)]
    pub system_prompt: String,
    /// Names of tools; `*` is all of them.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Skill ids whose full text is always in the context.
    #[serde(default)]
    pub skills: Vec<String>,
    #[serde(default)]
    pub temperature: Option<f64>,
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// What integrations keep about this bot, by integration.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub integration_config: serde_json::Map<String, serde_json::Value>,
}

impl Bot {
    pub fn default_bot() -> Self {
        Self {
            id: "default".into(),
            name: Some("Default".into()),
            display_name: None,
            avatar_url: None,
            model: None,
            fallback_models: Vec::new(),
            system_prompt: "You are a careful assistant. Say what you found out and how; say so when you do not know."
                .into(),
            tools: Vec::new(),
            skills: Vec::new(),
            temperature: None,
            max_tokens: None,
            integration_config: serde_json::Map::new(),
        }
    }

    pub fn from_definition(id: &str, definition: &str) -> Result<Self> {
        serde_json::from_str(definition).with_context(|| format!("The stored definition of bot `{id}` cannot be read"))
    }

    /// What is wrong with it, in words.
    pub fn problem(&self) -> Option<String> {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(valid) {
            return Some("The id of a bot has 1 to 64 letters, digits, `_` or `-`".into());
        }
        let warm = self.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t));
        warm.then(|| "temperature lies between 0 and 2".into())
    }
}

/// The key of the notice that a bot is asked for and not there.
pub fn missing(id: &str) -> String {
    format!("bot:{id}")
}

/// Reads `<data>/bots/*.yaml`.
///
/// # Errors
/// Names the file and the place in it.
pub fn seeds(directory: &Path) -> Result<Vec<Bot>> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(Vec::new()) };
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml"));
    files.sort();
    let mut bots = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let bot: Bot = serde_saphyr::from_str(&text).with_context(|| format!("{} is not a bot", file.display()))?;
        if let Some(problem) = bot.problem() {
            anyhow::bail!("{}: {problem}", file.display());
        }
        bots.push(bot);
    }
    Ok(bots)
}
