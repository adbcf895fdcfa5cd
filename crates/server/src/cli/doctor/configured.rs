//! What the operator configured and what the database holds.

use super::Finding;
use crate::{
    api::time::rfc3339,
    catalog::{DEFAULT, place},
    config::Config,
};
use chrono::TimeDelta;
use secrecy::ExposeSecret;
use std::path::PathBuf;
use tercel_sdk::{Field, Integration};
use tercel_store::{Inspection, Provider, Sealer, now, seal};

/// Checkpoints keep the log near 4 MB; one that has grown so far is not carried over any more.
const LARGE_LOG: u64 = 256 << 20;
const SHORT_KEY: usize = 16;

pub fn database(config: &Config, inspected: &tercel_store::Result<Option<Inspection>>, running: bool) -> Vec<Finding> {
    let inspection = match inspected {
        Ok(Some(inspection)) => inspection,
        Ok(None) => return vec![Finding::ok("database", "There is none yet; the first start makes it")],
        Err(error) => return vec![Finding::fail("database", error.to_string(), "A server does not start with it")],
    };
    let size = |name: &str| std::fs::metadata(config.data_dir.join(name)).map_or(0, |metadata| metadata.len());
    let (main, log) = (size("tercel.db"), size("tercel.db-wal"));
    let detail = format!("It is sound: schema {}, {} MB and {} MB of log", inspection.schema, main >> 20, log >> 20);
    let mut findings = vec![match log > LARGE_LOG {
        _ if config.database_url.is_some() => {
            Finding::ok("database", format!("PostgreSQL answers: schema {}", inspection.schema))
        }
        true => {
            Finding::warn("database", detail, "The log does not shrink: another program may hold the database open")
        }
        false => Finding::ok("database", detail),
    }];
    if !running {
        findings.extend(inspection.latest.map(|(began, ended)| last_end(began, ended, now())));
    }
    let has_own_row = |notice: &&tercel_store::Notice| super::work::OWN.iter().any(|own| notice.key.starts_with(own));
    for notice in inspection.notices.iter().filter(|notice| inspection.overview.is_none() || !has_own_row(notice)) {
        let repair = notice.repair.clone().unwrap_or_else(|| "See GET /api/v1/notices".into());
        findings.push(Finding::warn("notice", format!("{}: {}", notice.title, notice.detail), repair));
    }
    findings
}

fn last_end(began: i64, ended: Option<i64>, now: i64) -> Finding {
    match ended {
        Some(at) => Finding::ok("last stop", format!("In order, {} ago", span(now - at))),
        None => Finding::warn(
            "last stop",
            format!("The server that started at {} did not end in order", rfc3339(began)),
            "Nothing to do: the next start takes up what was begun",
        ),
    }
}

/// About how long, in words.
pub fn span(micros: i64) -> String {
    let time = TimeDelta::microseconds(micros.max(0));
    match (time.num_days(), time.num_hours(), time.num_minutes()) {
        (0, 0, 0) => format!("{} seconds", time.num_seconds()),
        (0, 0, minutes) => format!("{minutes} minutes"),
        (0, hours, _) => format!("{hours} hours"),
        (days, ..) => format!("{days} days"),
    }
}

/// The key that a server would use.
pub enum Key {
    /// The first start makes one, where secrets need none yet.
    None(PathBuf),
    Bad(tercel_store::Error),
    /// Where it comes from.
    Good(String, Box<Sealer>),
}

impl Key {
    /// Looking makes none.
    pub fn look(config: &Config) -> Self {
        let file = config.data_dir.join(seal::FILE);
        let source = match &config.encryption_key {
            Some(_) => "ENCRYPTION_KEY".to_owned(),
            None if !file.exists() => return Self::None(file),
            None => file.display().to_string(),
        };
        match config.sealer() {
            Ok(sealer) => Self::Good(source, Box::new(sealer)),
            Err(error) => Self::Bad(error),
        }
    }

    /// Empty without a key.
    pub fn id(&self) -> String {
        match self {
            Self::Good(_, sealer) => sealer.id(),
            Self::None(_) | Self::Bad(_) => String::new(),
        }
    }
}

/// Whether a server would start with this key, and whether it opens every secret that is stored.
pub fn secrets(config: &Config, key: &Key, inspection: Option<&Inspection>) -> Vec<Finding> {
    let first = inspection.and_then(|inspection| inspection.key.as_deref());
    let (source, sealer) = match key {
        Key::Good(source, sealer) => (source, sealer),
        Key::Bad(error) => {
            return vec![Finding::fail("secrets", error.to_string(), "Without its key no stored secret can be used")];
        }
        Key::None(file) => {
            let stored = inspection.is_some_and(|inspection| !inspection.sealed_otherwise.is_empty());
            let gone = stored || first.is_some() || seal::first_key(&config.data_dir).is_some();
            return vec![match gone {
                true => Finding::fail(
                    "secrets",
                    format!("The key file {} is gone, and secrets are sealed with it", file.display()),
                    "Put it back or set ENCRYPTION_KEY: a server does not start with another one",
                ),
                false => Finding::ok("secrets", "There is no key yet; the first start makes one"),
            }];
        }
    };
    let fits = sealer.fits_directory(&config.data_dir);
    let fits = fits.and_then(|()| first.map_or(Ok(()), |first| sealer.fits_database(first)));
    let mut findings = Vec::new();
    if let Err(error) = fits {
        findings.push(Finding::fail("secrets", error.to_string(), "A server does not start with this key"));
    }
    let settings = inspection.map(|inspection| inspection.settings.as_slice()).unwrap_or_default();
    for setting in settings {
        let at = place(&setting.integration, &setting.connection, &setting.key);
        if let Err(error) = sealer.open(&at, &setting.value) {
            findings.push(Finding::fail(
                "secrets",
                error.to_string(),
                format!(
                    "Enter `{}` of `{}` again, or set the earlier ENCRYPTION_KEY",
                    setting.key, setting.integration
                ),
            ));
        }
    }
    let others = inspection.map(|inspection| inspection.sealed_otherwise.as_slice()).unwrap_or_default();
    if let Some(previous) = sealer.previous_id() {
        let detail = format!("The key {previous} was replaced and is still there");
        let repair = "The next start of the server seals what is left with the new one, and removes it";
        findings.push(Finding::warn("secrets", detail, repair));
    }
    let is_open = sealer.previous_id().is_some();
    for (table, count) in others.iter().filter(|(table, _)| *table != "settings" && !is_open) {
        findings.push(Finding::fail(
            "secrets",
            format!("{count} rows of `{table}` have secrets that another key has sealed"),
            "Set the earlier ENCRYPTION_KEY; what they are for cannot be done without",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok("secrets", format!("The key in {source} opens all of them")));
    }
    findings
}

/// Who answers: the provider of the environment, and those that were made by the API.
pub fn models(config: &Config, inspection: Option<&Inspection>) -> Vec<Finding> {
    let made = inspection.map(|inspection| inspection.providers.as_slice()).unwrap_or_default();
    let mut findings = vec![model(config)];
    if !made.is_empty() && config.llm.base_url.is_none() {
        let detail = "LLM_BASE_URL is not set: bots whose model no provider lists have none";
        findings = vec![Finding::ok("model", detail)];
    }
    findings.extend(made.iter().map(provider));
    findings
}

fn provider(provider: &Provider) -> Finding {
    let models: Vec<String> = serde_json::from_str(&provider.models).unwrap_or_default();
    let models = if models.is_empty() { "no models named".into() } else { models.join(", ") };
    let key = if provider.sealed_api_key.is_some() { "with a key" } else { "without a key" };
    let Provider { id, kind, base_url, .. } = provider;
    Finding::ok("provider", format!("{id}: {kind} at {}, {key}: {models} (not called now)", address(base_url)))
}

fn model(config: &Config) -> Finding {
    let llm = &config.llm;
    match (&llm.base_url, &llm.api_key) {
        (None, _) => Finding::warn(
            "model",
            "None: a rehearsal answers, and nothing is sent",
            "Set LLM_BASE_URL, LLM_MODEL and, where one is needed, LLM_API_KEY",
        ),
        (Some(url), Some(_)) => {
            Finding::ok("model", format!("{} at {}, with a key (not called now)", llm.model, address(url)))
        }
        (Some(url), None) => {
            Finding::ok("model", format!("{} at {}, without LLM_API_KEY (not called now)", llm.model, address(url)))
        }
    }
}

/// Without a password or a key that may stand in it.
pub fn address(url: &str) -> String {
    url::Url::parse(url)
        .map_or_else(|_| "an address".into(), |url| format!("{}{}", url.origin().ascii_serialization(), url.path()))
}

pub fn api_key(config: &Config) -> Finding {
    let repair = "`openssl rand -hex 32` makes a good one; or unset it and use `tercel keys create`";
    match &config.api_key {
        None => Finding::ok("API_KEY", "Not set; `tercel keys create me --scope admin` makes a key"),
        Some(key) if key.expose_secret().trim().len() < SHORT_KEY => {
            let detail = format!("It has fewer than {SHORT_KEY} characters: it can be guessed");
            match config.listen.ip().is_loopback() {
                true => Finding::warn("API_KEY", detail, repair),
                false => Finding::fail("API_KEY", detail, repair),
            }
        }
        Some(_) => Finding::ok("API_KEY", "It is long enough"),
    }
}

pub fn integrations(config: &Config, inspection: Option<&Inspection>) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        tercel_integrations::all().iter().map(|integration| settings(config, integration, inspection)).collect();
    let healths = inspection.map(|inspection| inspection.healths.as_slice()).unwrap_or_default();
    for health in healths {
        let ago = span(now() - health.checked_at);
        let detail = format!("{}/{}, {ago} ago: {}", health.integration, health.connection, health.message);
        findings.push(match health.code.as_str() {
            "ok" => Finding::ok("connection", detail),
            code => {
                let repair = health.hint.clone().unwrap_or_else(|| "Mend its settings, then test it again".into());
                Finding::warn("connection", format!("{detail} ({code})"), repair)
            }
        });
    }
    findings
}

fn settings(config: &Config, integration: &Integration, inspection: Option<&Inspection>) -> Finding {
    let name = &integration.name;
    let is_stored = |field: &Field| {
        inspection.is_some_and(|inspection| {
            let mut settings = inspection.settings.iter();
            settings.any(|s| (&s.integration, s.connection.as_str(), &s.key) == (name, DEFAULT, &field.key))
        })
    };
    let is_set =
        |field: &Field| field.default.is_some() || config.environment.get(&field.env).is_some() || is_stored(field);
    let unset: Vec<&Field> = integration.fields.iter().filter(|f| (f.required || f.secret) && !is_set(f)).collect();
    if unset.is_empty() {
        return Finding::ok("integration", format!("{name} has all its settings"));
    }
    let names: Vec<&str> = unset.iter().map(|field| field.env.as_str()).collect();
    let help =
        unset.iter().filter(|field| !field.help.is_empty()).map(|field| format!("{}: {}", field.env, field.help));
    let repair = std::iter::once("Set them in the environment, in .env, or in the settings".to_owned()).chain(help);
    Finding::warn(
        "integration",
        format!("{name}: not set: {}", names.join(", ")),
        repair.collect::<Vec<_>>().join("\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::Level, config::Environment};
    use tercel_store::Setting;

    fn config(pairs: &[(&str, &str)]) -> Config {
        let mut environment = Environment::default();
        pairs.iter().for_each(|(name, value)| environment.set(name, *value));
        Config::from(environment).unwrap()
    }

    fn inspection(settings: Vec<Setting>) -> Inspection {
        Inspection {
            schema: 1,
            settings,
            healths: Vec::new(),
            notices: Vec::new(),
            latest: None,
            overview: None,
            tables: Vec::new(),
            providers: Vec::new(),
            key: None,
            sealed_otherwise: Vec::new(),
            free: 0,
        }
    }

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_secret_sealed_with_another_key_is_found_and_not_shown() {
        let sealer = Sealer::new(&[7; 32]);
        let value = sealer.seal(&place("one", DEFAULT, "token"), "the secret itself");
        let stored = inspection(vec![Setting {
            integration: "one".into(),
            connection: DEFAULT.into(),
            key: "token".into(),
            value,
            ..Setting::default()
        }]);
        let looked = |config: &Config, inspection: Option<&Inspection>| secrets(config, &Key::look(config), inspection);
        let elsewhere = tempfile::tempdir().unwrap();
        let with = |key: [u8; 32]| {
            config(&[("ENCRYPTION_KEY", &hex::encode(key)), ("TERCEL_DATA_DIR", elsewhere.path().to_str().unwrap())])
        };
        let by = |key: [u8; 32]| looked(&with(key), Some(&stored));
        assert_eq!(levels(&by([7; 32])), [Level::Ok]);
        let wrong = by([8; 32]);
        assert_eq!(levels(&wrong), [Level::Fail]);
        assert!(!format!("{wrong:?}").contains("the secret itself"));
        let place = tempfile::tempdir().unwrap();
        let without = config(&[("TERCEL_DATA_DIR", place.path().to_str().unwrap())]);
        let gone = Inspection { sealed_otherwise: vec![("settings", 1)], ..inspection(Vec::new()) };
        assert_eq!(levels(&looked(&without, Some(&gone))), [Level::Fail], "the key file is gone");
        assert_eq!(levels(&looked(&without, None)), [Level::Ok]);
        assert!(!place.path().join("key").exists());
    }

    #[test]
    fn a_key_that_a_server_would_refuse_is_refused_in_the_same_words() {
        let place = tempfile::tempdir().unwrap();
        let used = Sealer::new(&[7; 32]);
        used.check_directory(place.path()).unwrap();
        let directory = place.path().to_str().unwrap();
        let other = config(&[("ENCRYPTION_KEY", &hex::encode([8; 32])), ("TERCEL_DATA_DIR", directory)]);
        let said = |inspection: &Inspection| secrets(&other, &Key::look(&other), Some(inspection));
        let refused = Sealer::new(&[8; 32]).check_directory(place.path()).unwrap_err().to_string();
        let findings = said(&inspection(Vec::new()));
        assert_eq!((findings[0].level, &findings[0].detail), (Level::Fail, &refused));

        let right = config(&[("ENCRYPTION_KEY", &hex::encode([7; 32])), ("TERCEL_DATA_DIR", directory)]);
        let stored = Inspection {
            key: Some("0badc0de".into()),
            sealed_otherwise: vec![("outbox", 2), ("providers", 1)],
            ..inspection(Vec::new())
        };
        let findings = secrets(&right, &Key::look(&right), Some(&stored));
        assert_eq!(levels(&findings), [Level::Fail; 3]);
        assert!(findings[0].detail.contains("sealed with key 0badc0de"), "{findings:?}");
        assert!(findings[1].detail.contains("2 rows of `outbox`"), "{findings:?}");
        let without = config(&[("TERCEL_DATA_DIR", directory)]);
        assert_eq!(levels(&secrets(&without, &Key::look(&without), None)), [Level::Fail], "it is noted there");
    }

    #[test]
    fn a_log_that_does_not_shrink_is_found() {
        let place = tempfile::tempdir().unwrap();
        let config = config(&[("TERCEL_DATA_DIR", place.path().to_str().unwrap())]);
        let log = std::fs::File::create(place.path().join("tercel.db-wal")).unwrap();
        let look = || database(&config, &Ok(Some(inspection(Vec::new()))), true).remove(0);
        log.set_len(4 << 20).unwrap();
        assert_eq!((look().level, look().detail.contains("4 MB of log")), (Level::Ok, true));
        log.set_len(LARGE_LOG + 1).unwrap();
        assert_eq!((look().level, look().detail.contains("256 MB of log")), (Level::Warn, true));
    }

    #[test]
    fn a_key_that_can_be_guessed_is_found() {
        assert_eq!(api_key(&config(&[("API_KEY", "short")])).level, Level::Warn);
        assert_eq!(api_key(&config(&[("API_KEY", "short"), ("TERCEL_LISTEN", "0.0.0.0:1")])).level, Level::Fail);
        assert_eq!(api_key(&config(&[("API_KEY", "0123456789abcdef")])).level, Level::Ok);
    }

    #[test]
    fn the_address_of_the_model_is_shown_without_what_is_secret_in_it() {
        let config = config(&[("LLM_BASE_URL", "https://me:hush@models.example/v1?key=hush"), ("LLM_MODEL", "m")]);
        assert_eq!(model(&config).detail, "m at https://models.example/v1, without LLM_API_KEY (not called now)");
    }

    #[test]
    fn a_provider_that_was_made_by_the_api_is_one_that_answers() {
        let made = Provider {
            id: "claude".into(),
            kind: "anthropic".into(),
            base_url: "https://me:hush@models.example/v1".into(),
            sealed_api_key: Some("sealed".into()),
            models: "[\"a\",\"b\"]".into(),
            defaults: "{}".into(),
            updated_at: 0,
        };
        let stored = Inspection { providers: vec![made], ..inspection(Vec::new()) };
        let findings = models(&config(&[]), Some(&stored));
        assert_eq!(levels(&findings), [Level::Ok, Level::Ok], "no rehearsal answers");
        let said = "claude: anthropic at https://models.example/v1, with a key: a, b (not called now)";
        assert_eq!(findings[1].detail, said);
        assert_eq!(levels(&models(&config(&[]), None)), [Level::Warn]);
    }

    #[test]
    fn a_setting_counts_wherever_it_stands() {
        let integration = Integration::new("one").field(Field::password("token", "Token").help("From there"));
        let unset = settings(&config(&[]), &integration, None);
        assert_eq!((unset.level, unset.detail.as_str()), (Level::Warn, "one: not set: ONE_TOKEN"));
        assert!(unset.repair.unwrap().contains("ONE_TOKEN: From there"));
        assert_eq!(settings(&config(&[("ONE_TOKEN", "t")]), &integration, None).level, Level::Ok);
        let row = Setting {
            integration: "one".into(),
            connection: DEFAULT.into(),
            key: "token".into(),
            ..Setting::default()
        };
        assert_eq!(settings(&config(&[]), &integration, Some(&inspection(vec![row]))).level, Level::Ok);
    }

    #[test]
    fn the_last_end_is_told() {
        const MINUTE: i64 = 60_000_000;
        assert_eq!(last_end(0, Some(0), 5 * MINUTE).detail, "In order, 5 minutes ago");
        assert_eq!(last_end(0, Some(0), 50 * 60 * MINUTE).detail, "In order, 2 days ago");
        assert_eq!(last_end(0, None, MINUTE).level, Level::Warn);
    }
}
