//! What settings are called, and which one a misspelt name is near to.

use anyhow::{Result, bail};

/// Names of ours that do not begin with `TERCEL_`; what an integration's fields are called comes on top.
const OTHERS: [&str; 16] = [
    "API_KEY",
    "BASE_URL",
    "DATABASE_URL",
    "ENCRYPTION_KEY",
    "HOOK_WEBHOOK_URLS",
    "INTEGRATION_DIRS",
    "LLM_API_KEY",
    "LLM_BASE_URL",
    "LLM_MODEL",
    "OLLAMA_HOST",
    "STT_API_KEY",
    "STT_BASE_URL",
    "STT_MODEL",
    "TOOL_DIRS",
    "TRUSTED_PROXIES",
    "WORKSPACE_DIR",
];

/// Where names come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Ours alone: every name in it is meant for us.
    Toml,
    /// Others read it, too: only names that begin like ours are.
    DotEnv,
    Environment,
}

impl Origin {
    fn is_ours(self, name: &str) -> bool {
        let prefixes: &[&str] = match self {
            Self::Toml => return true,
            Self::DotEnv => &["TERCEL_", "LLM_", "STT_"],
            // Other programs have settings of their models there.
            Self::Environment => &["TERCEL_"],
        };
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    }

    fn words(self) -> &'static str {
        match self {
            Self::Toml => "tercel.toml: ",
            Self::DotEnv => ".env: ",
            Self::Environment => "",
        }
    }
}

/// A misspelt name would be a setting that silently does nothing.
///
/// # Errors
/// Names the first of them, and the setting that it is nearest to.
pub fn refuse_unknown<'n>(origin: Origin, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
    let integrations = tercel_integrations::all();
    let fields = integrations.iter().flat_map(|integration| &integration.fields).map(|field| field.env.as_str());
    let known: Vec<&str> = super::KNOWN.into_iter().chain(OTHERS).chain(fields).collect();
    let is_unknown = |name: &&str| origin.is_ours(name) && !known.contains(name);
    for name in names.into_iter().filter(is_unknown) {
        let likeness = |known: &&str| strsim::jaro_winkler(&name.to_uppercase(), known);
        let nearest = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or("another");
        // Folders have variables of their own, which nobody knows yet.
        if origin == Origin::Toml && is_variable(name) && !is_reserved(name) && likeness(&nearest) < ALIKE {
            continue;
        }
        bail!("{}{name} is not a setting; is {nearest} meant?", origin.words())
    }
    Ok(())
}

/// What is so like a name of ours is a misspelt one.
const ALIKE: f64 = 0.9;

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Names that are the server's own, or that decide how a process runs.
pub fn is_reserved(name: &str) -> bool {
    const RUNNING: [&str; 9] = [
        "AGENT_API_KEY",
        "AGENT_SERVER_URL",
        "HOME",
        "INTEGRATION_STATE_DIR",
        "LANG",
        "PATH",
        "TMPDIR",
        "USER",
        "VIRTUAL_ENV",
    ];
    OTHERS.contains(&name)
        || RUNNING.contains(&name)
        || ["TERCEL_", "LD_", "PYTHON", "DYLD_"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(origin: Origin, name: &str) -> Option<String> {
        refuse_unknown(origin, [name]).err().map(|error| error.to_string())
    }

    #[test]
    fn a_name_that_is_none_of_ours_is_refused_where_it_can_only_be_meant_for_us() {
        let refused = |origin, name, words: &str| assert_eq!(said(origin, name).as_deref(), Some(words), "{name}");
        refused(Origin::Environment, "TERCEL_LISTN", "TERCEL_LISTN is not a setting; is TERCEL_LISTEN meant?");
        refused(Origin::DotEnv, "LLM_MODLE", ".env: LLM_MODLE is not a setting; is LLM_MODEL meant?");
        refused(Origin::Toml, "API_KEI", "tercel.toml: API_KEI is not a setting; is API_KEY meant?");
        assert_eq!(said(Origin::Toml, "WEATHER_STATION"), None, "a folder's");
        assert!(said(Origin::Toml, "LD_PRELOAD").is_some_and(|words| words.contains("LD_PRELOAD is not a setting")));
        refused(Origin::Toml, "llm_model", "tercel.toml: llm_model is not a setting; is LLM_MODEL meant?");
        assert_eq!(said(Origin::Environment, "LLM_MODLE"), None, "another program's");
        assert_eq!(said(Origin::DotEnv, "COMPOSE_PROJECT_NAME"), None);
        for integration in tercel_integrations::all() {
            for field in &integration.fields {
                assert_eq!(said(Origin::Toml, &field.env), None);
            }
        }
    }
}
