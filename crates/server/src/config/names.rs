//! What settings are called, and which one a misspelt name is near to.

use anyhow::{Result, bail};
use std::sync::OnceLock;

/// Names of ours that do not begin with `TERCEL_`; what an integration's fields are called comes on top.
const OTHERS: [&str; 20] = [
    "API_KEY",
    "BASE_URL",
    "DATABASE_URL",
    "EMBEDDING_API_KEY",
    "EMBEDDING_BASE_URL",
    "EMBEDDING_MODEL",
    "ENCRYPTION_KEY",
    "ENCRYPTION_KEY_PREVIOUS",
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
    /// For us and our folders alone.
    Toml,
    /// Others read it, too.
    DotEnv,
    Environment,
}

impl Origin {
    /// Whether a name that is not known must be a mistake.
    fn refuses(self, name: &str, known: &[String]) -> bool {
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        match self {
            Self::Toml => !is_variable(name) || is_reserved(name) || near(name, known).is_some(),
            Self::DotEnv => begins(&["TERCEL_", "LLM_", "STT_"]) || near(name, known).is_some(),
            // Other programs have settings of their models there.
            Self::Environment => begins(&["TERCEL_"]),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Toml => "tercel.toml: ",
            Self::DotEnv => ".env: ",
            Self::Environment => "",
        }
    }
}

/// A misspelt name would be a setting that silently does nothing. Names that are like none of ours are variables of
/// folders, which are known only when those are loaded.
///
/// # Errors
/// Names the first of them, and the setting that it is nearest to.
pub fn refuse_unknown<'n>(origin: Origin, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
    let known = known();
    let is_wrong = |name: &&str| !known.iter().any(|known| known == name) && origin.refuses(name, known);
    match names.into_iter().find(is_wrong) {
        None => Ok(()),
        Some(name) => bail!("{}{name} is not a setting; is {} meant?", origin.words(), nearest(name, known)),
    }
}

/// Names of the environment that are nearly ours. Others have names there, too: these are told and not refused.
pub fn doubtful<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
    let known = known();
    let doubt = |name: &str| {
        let near = near(name, known)?;
        (near != name).then(|| format!("{name} is set and is not a setting; is {near} meant?"))
    };
    names.into_iter().filter_map(doubt).collect()
}

/// Ours, and those of the integrations that are shipped.
fn known() -> &'static [String] {
    static ALL: OnceLock<Vec<String>> = OnceLock::new();
    ALL.get_or_init(|| {
        let integrations = tercel_integrations::all();
        let fields = integrations.iter().flat_map(|integration| &integration.fields).map(|field| field.env.clone());
        super::KNOWN.into_iter().chain(OTHERS).map(str::to_owned).chain(fields).collect()
    })
}

/// The name that one was meant to be: a slip of the fingers away, two in long ones.
fn near<'k>(name: &str, known: &'k [String]) -> Option<&'k str> {
    let upper = name.to_uppercase();
    let slips = |known: &str| strsim::osa_distance(&upper, known);
    let alike = known.iter().filter(|known| known.len().abs_diff(upper.len()) <= MOST_SLIPS);
    let nearest = alike.min_by_key(|known| slips(known))?;
    let allowed = if nearest.len() < LONG { 1 } else { MOST_SLIPS };
    (slips(nearest) <= allowed).then_some(nearest)
}

const LONG: usize = 13;
const MOST_SLIPS: usize = 2;

fn nearest<'k>(name: &str, known: &'k [String]) -> &'k str {
    let likeness = |known: &&String| strsim::jaro_winkler(&name.to_uppercase(), known);
    let most_alike =
        || known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).map_or("another", String::as_str);
    near(name, known).unwrap_or_else(most_alike)
}

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
        refused(Origin::Toml, "API_KEI", "tercel.toml: API_KEI is not a setting; is API_KEY meant?");
        assert_eq!(said(Origin::Toml, "WEATHER_STATION"), None, "a folder's");
        assert!(said(Origin::Toml, "LD_PRELOAD").is_some_and(|words| words.contains("LD_PRELOAD is not a setting")));
        refused(Origin::Toml, "llm_model", "tercel.toml: llm_model is not a setting; is LLM_MODEL meant?");
        assert!(said(Origin::Toml, "LD_PRELOAD").is_some_and(|words| words.contains("LD_PRELOAD is not a setting")));
        for (wrong, right) in [
            ("LLM_MODLE", "LLM_MODEL"),
            ("DATABASE_ULR", "DATABASE_URL"),
            ("API_KEI", "API_KEY"),
            ("ENCRYPTION_KYE", "ENCRYPTION_KEY"),
            ("database_url", "DATABASE_URL"),
            ("EMBEDDING_MODLE", "EMBEDDING_MODEL"),
        ] {
            refused(Origin::DotEnv, wrong, &format!(".env: {wrong} is not a setting; is {right} meant?"));
        }
    }

    #[test]
    fn a_name_of_an_integration_is_known_and_a_misspelt_one_is_not() {
        for field in tercel_integrations::all().iter().flat_map(|integration| &integration.fields) {
            assert_eq!(said(Origin::Toml, &field.env), None);
            let mut wrong = field.env.clone();
            wrong.remove(wrong.len() - 2);
            let refusal = said(Origin::DotEnv, &wrong).unwrap_or_else(|| panic!("{wrong} passes"));
            assert!(refusal.ends_with(&format!("is {} meant?", field.env)), "{refusal}");
        }
    }

    #[test]
    fn what_folders_and_other_programs_have_there_passes() {
        for origin in [Origin::Toml, Origin::DotEnv, Origin::Environment] {
            for name in
                ["WEATHER_STATION", "COMPOSE_PROJECT_NAME", "TTS_BASE_URL", "INTEGRATION_DIRS", "EMBEDDING_MODEL"]
            {
                assert_eq!(said(origin, name), None, "{origin:?} {name}");
            }
        }
        assert_eq!(said(Origin::Environment, "LLM_MODLE"), None, "another program's");
        let doubts = doubtful(["DATABASE_ULR", "DATABASE_URL", "HOME", "LLM_MODLE"]);
        assert_eq!(
            doubts,
            [
                "DATABASE_ULR is set and is not a setting; is DATABASE_URL meant?",
                "LLM_MODLE is set and is not a setting; is LLM_MODEL meant?",
            ]
        );
    }
}
