//! What the operator said: flags, environment, `.env`, `tercel.toml`, in this order. Nothing else reads the environment.

mod folders;
mod installing;
mod names;

pub use folders::{Folders, WorkspaceTrust};

use self::names::{Origin, doubtful, refuse_unknown};
use crate::{
    outbound::Rehearsal,
    part,
    tier::{TIERS, Tier},
};
use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU64,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};
use tercel_store::{Sealer, seal};
use url::Url;

/// Values by their environment names.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the process environment over `.env` over `tercel.toml` of the working directory.
    ///
    /// # Errors
    /// Says which file cannot be read and where.
    pub fn read() -> Result<Self> {
        let mut values = BTreeMap::new();
        let file = Path::new("tercel.toml");
        if file.exists() {
            let text = std::fs::read_to_string(file).context("tercel.toml cannot be read")?;
            let table: toml::Table = text.parse().context("tercel.toml is not valid")?;
            refuse_unknown(Origin::Toml, table.keys().map(String::as_str))?;
            for (key, value) in table {
                let text = match value {
                    toml::Value::String(text) => text,
                    toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => value.to_string(),
                    _ => bail!("tercel.toml: `{key}` must be a text, a number, true or false"),
                };
                values.insert(key, text);
            }
        }
        match dotenvy::from_path_iter(".env") {
            Ok(lines) => {
                for line in lines {
                    let (key, value) = line.context(".env is not valid")?;
                    refuse_unknown(Origin::DotEnv, [key.as_str()])?;
                    values.insert(key, value);
                }
            }
            Err(error) if error.not_found() => {}
            Err(error) => return Err(error).context(".env cannot be read"),
        }
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
        values.extend(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        );
        Ok(Self(values))
    }

    /// The value of a name, unless it is blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    fn parse<T: FromStr<Err: Display>>(&self, name: &str, default: T) -> Result<T> {
        match self.get(name) {
            Some(text) => text.trim().parse().map_err(|e| anyhow::anyhow!("{name} is `{text}`: {e}")),
            None => Ok(default),
        }
    }

    fn days(&self, name: &str, default: f64) -> Result<Duration> {
        let days: f64 = self.parse(name, default)?;
        match Duration::try_from_secs_f64(days * 86_400.0) {
            Ok(time) if days <= 36_500.0 => Ok(time),
            _ => bail!("{name} is `{days}`: it is a number of days from 0 (for ever) to 36500"),
        }
    }

    fn list<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Vec<T>> {
        let text = self.get(name).unwrap_or_default();
        text.split([',', ' '])
            .filter(|part| !part.is_empty())
            .map(|part| part.parse().map_err(|e| anyhow::anyhow!("{name}: `{part}`: {e}")))
            .collect()
    }
}

/// Which model answers.
#[derive(Clone)]
pub struct Llm {
    /// Absent: the rehearsal answers.
    pub base_url: Option<String>,
    pub api_key: Option<SecretString>,
    pub model: String,
}

/// What turns speech into text.
#[derive(Clone)]
pub struct Stt {
    pub base_url: String,
    pub model: String,
    pub api_key: Option<SecretString>,
}

impl Stt {
    fn from(env: &Environment) -> Result<Option<Self>> {
        match (env.get("STT_BASE_URL"), env.get("STT_MODEL")) {
            (None, None) => Ok(None),
            (None, Some(_)) => bail!("STT_MODEL is set but STT_BASE_URL is not: it says where that model listens"),
            (Some(_), None) => {
                bail!("STT_BASE_URL is set but STT_MODEL is not: name the model that shall listen there")
            }
            (Some(url), Some(model)) => Ok(Some(Self {
                base_url: url.trim().trim_end_matches('/').to_owned(),
                model: model.to_owned(),
                api_key: env.get("STT_API_KEY").map(SecretString::from),
            })),
        }
    }
}

/// What strangers may spend; 0 lifts a ceiling.
#[derive(Debug, Clone, Copy)]
pub struct Ceilings {
    pub runs_per_integration_and_day: i64,
    pub runs_per_channel_and_hour: i64,
    pub tokens_per_day: i64,
}

#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Runs open at once, most of them waiting for a model.
    pub open_runs: usize,
    /// Steps worked on at once.
    pub steps: usize,
    /// Outbox rows on their way at once.
    pub sending: usize,
    /// Tasks that may wait before webhooks are answered 503.
    pub queue: i64,
    /// Bytes of a request body.
    pub body: usize,
    /// Requests a second of one API key; 0: any number. Refused webhooks are not counted against their source: behind a
    /// proxy all of them have the same one, and who sends wrong signatures would shut out the service that is right.
    pub rate: u32,
}

/// How long what is old is kept; zero: for ever.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    pub bodies: Duration,
    pub steps: Duration,
    pub answers: Duration,
    pub egress: Duration,
    pub notices: Duration,
    /// What was spent; in days for most of that time.
    pub usage: Duration,
}

#[derive(Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// A further address that serves what is below `/integrations/` and nothing else.
    pub webhook_listen: Option<SocketAddr>,
    pub data_dir: PathBuf,
    /// Absent: the embedded database in the data directory.
    pub database_url: Option<SecretString>,
    pub base_url: Option<String>,
    /// Bootstrap key with the scope `admin`.
    pub api_key: Option<SecretString>,
    pub encryption_key: Option<SecretString>,
    /// Still opens what it has sealed.
    pub encryption_key_previous: Option<SecretString>,
    pub llm: Llm,
    pub stt: Option<Stt>,
    pub allow_private: Vec<IpNet>,
    pub trusted_proxies: Vec<IpNet>,
    pub tier: Tier,
    pub ceilings: Ceilings,
    pub capacity: Capacity,
    /// How long a model may be silent.
    pub model_timeout: Duration,
    /// How long any other request may take.
    pub http_timeout: Duration,
    /// Seconds that one run may take.
    pub run_seconds: u64,
    pub limits: part::Limits,
    pub keep: Keep,
    /// What the commands seal secrets to.
    pub backup_passphrase: Option<SecretString>,
    /// Who is told of every event of a run.
    pub hook_webhook_urls: Vec<Url>,
    pub folders: Folders,
    /// What is set and may be a misspelt name.
    pub doubts: Vec<String>,
    /// Nothing that changes something leaves, whichever model answers.
    pub rehearse: Option<Rehearsal>,
    /// Of all folders the only one that is loaded.
    pub only: Option<String>,
    pub log: String,
    pub log_json: bool,
    pub environment: Environment,
}

impl Config {
    /// # Errors
    /// Names the variable and what is wrong with its value.
    pub fn from(environment: Environment) -> Result<Self> {
        let env = &environment;
        refuse_unknown(Origin::Environment, env.0.keys().map(String::as_str))?;
        let base_url = env.get("LLM_BASE_URL").map(str::to_owned);
        let default_model = if base_url.is_some() { "" } else { "rehearsal" };
        let model = env.get("LLM_MODEL").unwrap_or(default_model).to_owned();
        if model.is_empty() {
            bail!("LLM_BASE_URL is set but LLM_MODEL is not: name the model that shall answer there");
        }
        if base_url.is_none() && model != "rehearsal" {
            bail!(
                "LLM_MODEL is `{model}` but LLM_BASE_URL is not set: it says where that model answers (https://api.openai.com/v1, http://localhost:11434/v1, …)"
            );
        }
        let config = Self {
            listen: env.parse("TERCEL_LISTEN", SocketAddr::from(([127, 0, 0, 1], 8000)))?,
            webhook_listen: env
                .get("TERCEL_WEBHOOK_LISTEN")
                .map(|_| env.parse("TERCEL_WEBHOOK_LISTEN", SocketAddr::from(([127, 0, 0, 1], 0))))
                .transpose()?,
            data_dir: env.get("TERCEL_DATA_DIR").unwrap_or("data").into(),
            database_url: database_url(env.get("DATABASE_URL"))?,
            base_url: env.get("BASE_URL").map(|url| url.trim_end_matches('/').to_owned()),
            api_key: env.get("API_KEY").map(SecretString::from),
            encryption_key: env.get("ENCRYPTION_KEY").map(SecretString::from),
            encryption_key_previous: env.get("ENCRYPTION_KEY_PREVIOUS").map(SecretString::from),
            llm: Llm { base_url, api_key: env.get("LLM_API_KEY").map(SecretString::from), model },
            stt: Stt::from(env)?,
            allow_private: env.list("TERCEL_ALLOW_PRIVATE")?,
            trusted_proxies: networks(env.list::<Network>("TRUSTED_PROXIES")?),
            tier: tier(env)?,
            ceilings: Ceilings {
                runs_per_integration_and_day: env.parse("TERCEL_RUNS_PER_DAY", 200)?,
                runs_per_channel_and_hour: env.parse("TERCEL_RUNS_PER_HOUR", 60)?,
                tokens_per_day: env.parse("TERCEL_TOKENS_PER_DAY", 5_000_000)?,
            },
            capacity: Capacity {
                open_runs: env.parse("TERCEL_OPEN_RUNS", 4096)?,
                steps: env.parse("TERCEL_STEPS", 64)?,
                sending: env.parse("TERCEL_SENDING", 64)?,
                queue: env.parse("TERCEL_QUEUE", 100_000)?,
                body: env.parse("TERCEL_MAX_BODY", 25 * 1024 * 1024)?,
                rate: env.parse("TERCEL_RATE", 200)?,
            },
            model_timeout: Duration::from_secs(env.parse("TERCEL_MODEL_TIMEOUT", 120)?),
            http_timeout: Duration::from_secs(env.parse("TERCEL_HTTP_TIMEOUT", 30)?),
            run_seconds: env.parse("TERCEL_RUN_SECONDS", SECONDS_OF_A_RUN)?.get(),
            limits: part::Limits::default(),
            keep: Keep {
                bodies: env.days("TERCEL_KEEP_BODIES", 14.0)?,
                steps: env.days("TERCEL_KEEP_STEPS", 90.0)?,
                answers: env.days("TERCEL_KEEP_OUTBOX", 90.0)?,
                egress: env.days("TERCEL_KEEP_EGRESS", 30.0)?,
                notices: env.days("TERCEL_KEEP_NOTICES", 90.0)?,
                usage: env.days("TERCEL_KEEP_USAGE", 400.0)?,
            },
            backup_passphrase: env.get("TERCEL_BACKUP_PASSPHRASE").map(SecretString::from),
            hook_webhook_urls: hook_webhook_urls(env)?,
            folders: Folders::from(env, Path::new(env.get("TERCEL_DATA_DIR").unwrap_or("data")))?,
            doubts: doubtful(env.0.keys().map(String::as_str)),
            rehearse: None,
            only: None,
            log: env.get("TERCEL_LOG").unwrap_or("info").to_owned(),
            log_json: env.get("TERCEL_LOG_FORMAT") == Some("json"),
            environment,
        };
        crate::telemetry::filter(&config.log).with_context(|| format!("TERCEL_LOG is `{}`", config.log))?;
        if !config.listen.ip().is_loopback() && config.api_key.is_none() {
            bail!(
                "TERCEL_LISTEN is {}: others can reach that address, and no API_KEY is set. Set API_KEY, or listen on 127.0.0.1",
                config.listen
            );
        }
        Ok(config)
    }

    /// What opens and seals secrets. A key file is made where there is none and nothing else was said.
    ///
    /// # Errors
    /// Says what is wrong with the key.
    pub fn sealer(&self) -> tercel_store::Result<Sealer> {
        let sealer = match &self.encryption_key {
            Some(key) => Sealer::from_hex(key.expose_secret())?,
            None => Sealer::from_file(&self.data_dir.join(seal::FILE))?,
        };
        match &self.encryption_key_previous {
            Some(key) => sealer.with_previous(key.expose_secret()),
            None => Ok(sealer),
        }
    }

    /// The address that people and services are told. Who listens everywhere without one of its own is told to this machine.
    pub fn public_url(&self) -> String {
        let mut here = self.listen;
        match here.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => here.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => here.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        self.base_url.clone().unwrap_or_else(|| format!("http://{here}"))
    }

    /// Whether forwarding headers of this peer count.
    pub fn trusts_proxy(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&peer))
    }

    /// What programs that install packages are given.
    pub fn installing(&self) -> BTreeMap<String, String> {
        installing::of(&self.environment.0)
    }

    /// Names that are the server's own, or that decide how a process runs: never settings of a folder.
    pub fn is_reserved(name: &str) -> bool {
        names::is_reserved(name)
    }

    /// Where an Ollama on this machine listens, as it says itself.
    pub fn ollama_host(&self) -> &str {
        self.environment.get("OLLAMA_HOST").unwrap_or("127.0.0.1:11434").trim()
    }

    /// The failpoint that a crash test arms; there is none in a release build.
    pub fn failpoint(&self) -> Option<&str> {
        self.environment.get("TERCEL_FAILPOINT")
    }
}

fn tier(env: &Environment) -> Result<Tier> {
    let name = env.get("TERCEL_TIER").unwrap_or("premium").trim();
    Tier::named(name).with_context(|| format!("TERCEL_TIER is `{name}`; it is one of {}", TIERS.join(", ")))
}

const SECONDS_OF_A_RUN: NonZeroU64 = NonZeroU64::new(1800).unwrap();

/// The server's own secrets.
pub const OWN_SECRETS: [&str; 7] = [
    "API_KEY",
    "TERCEL_BACKUP_PASSPHRASE",
    "DATABASE_URL",
    "ENCRYPTION_KEY",
    "ENCRYPTION_KEY_PREVIOUS",
    "LLM_API_KEY",
    "STT_API_KEY",
];

/// Those of our names that begin with `TERCEL_`.
const KNOWN: [&str; 29] = [
    "TERCEL_ALLOW_PRIVATE",
    "TERCEL_BACKUP_PASSPHRASE",
    "TERCEL_CONFIG_DIR",
    "TERCEL_DATA_DIR",
    "TERCEL_FAILPOINT",
    "TERCEL_HTTP_TIMEOUT",
    "TERCEL_KEEP_BODIES",
    "TERCEL_KEEP_EGRESS",
    "TERCEL_KEEP_NOTICES",
    "TERCEL_KEEP_OUTBOX",
    "TERCEL_KEEP_STEPS",
    "TERCEL_KEEP_USAGE",
    "TERCEL_LISTEN",
    "TERCEL_LOG",
    "TERCEL_LOG_FORMAT",
    "TERCEL_MAX_BODY",
    "TERCEL_MODEL_TIMEOUT",
    "TERCEL_OPEN_RUNS",
    "TERCEL_QUEUE",
    "TERCEL_RATE",
    "TERCEL_RUNS_PER_DAY",
    "TERCEL_RUNS_PER_HOUR",
    "TERCEL_RUN_SECONDS",
    "TERCEL_SENDING",
    "TERCEL_STEPS",
    "TERCEL_TIER",
    "TERCEL_TOKENS_PER_DAY",
    "TERCEL_WEBHOOK_LISTEN",
    "TERCEL_WORKSPACE_TRUST",
];

/// Nothing of the address is shown: it has a password in it.
fn database_url(url: Option<&str>) -> Result<Option<SecretString>> {
    match url.map(str::trim) {
        None => Ok(None),
        Some(url) if url.starts_with("sqlite:") => Ok(None),
        Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(Some(url.into())),
        Some(_) => bail!(
            "DATABASE_URL is neither postgres://user:password@host/database nor unset, which means SQLite below TERCEL_DATA_DIR"
        ),
    }
}

fn hook_webhook_urls(env: &Environment) -> Result<Vec<Url>> {
    let texts = env.list::<String>("HOOK_WEBHOOK_URLS")?;
    // An address may have a secret in it: it is counted, not shown.
    let url = |(n, text): (usize, &String)| {
        let url = text.parse::<Url>().ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        url.with_context(|| format!("HOOK_WEBHOOK_URLS: number {} does not begin with https:// or http://", n + 1))
    };
    texts.iter().enumerate().map(url).collect()
}

/// A network or a single address.
struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| "expected an address or a network such as 10.0.0.0/8".into())
    }
}

fn networks(list: Vec<Network>) -> Vec<IpNet> {
    list.into_iter().map(|Network(net)| net).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config> {
        let mut environment = Environment::default();
        pairs.iter().for_each(|(name, value)| environment.set(name, *value));
        Config::from(environment)
    }

    fn refusal(pairs: &[(&str, &str)]) -> String {
        config(pairs).err().expect("it is refused").to_string()
    }

    #[test]
    fn nothing_needs_to_be_set() {
        let config = config(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(config.llm.model, "rehearsal");
    }

    #[test]
    fn people_are_told_an_address_that_they_can_open() {
        let told = |pairs| config(pairs).unwrap().public_url();
        assert_eq!(told(&[("TERCEL_LISTEN", "0.0.0.0:8000"), ("API_KEY", "k")]), "http://127.0.0.1:8000");
        assert_eq!(told(&[("TERCEL_LISTEN", "[::]:8000"), ("API_KEY", "k")]), "http://[::1]:8000");
        assert_eq!(told(&[("TERCEL_LISTEN", "192.168.1.5:80"), ("API_KEY", "k")]), "http://192.168.1.5:80");
        assert_eq!(told(&[("BASE_URL", "https://agent.example")]), "https://agent.example");
    }

    #[test]
    fn a_bad_value_is_named() {
        assert!(refusal(&[("TERCEL_LISTEN", "here")]).contains("TERCEL_LISTEN is `here`"));
        assert!(refusal(&[("TERCEL_TIER", "gold")]).contains("premium"));
        assert!(refusal(&[("LLM_MODEL", "gpt-5")]).contains("LLM_BASE_URL"));
        assert!(refusal(&[("LLM_BASE_URL", "http://localhost:1/v1")]).contains("LLM_MODEL"));
        assert!(refusal(&[("TERCEL_LOG", "inof")]).contains("TERCEL_LOG is `inof`"));
        assert!(refusal(&[("TERCEL_KEEP_STEPS", "-1")]).contains("TERCEL_KEEP_STEPS"));
        assert!(refusal(&[("TERCEL_LISTN", "127.0.0.1:1")]).contains("TERCEL_LISTEN"));
        let refused = refusal(&[("DATABASE_URL", "mysql://s3cret")]);
        assert!(refused.contains("DATABASE_URL") && !refused.contains("s3cret"));
    }

    #[test]
    fn the_world_is_not_let_in_without_a_key() {
        assert!(refusal(&[("TERCEL_LISTEN", "0.0.0.0:8000")]).contains("API_KEY"));
        assert!(config(&[("TERCEL_LISTEN", "0.0.0.0:8000"), ("API_KEY", "k")]).is_ok());
    }

    #[test]
    fn a_proxy_may_be_an_address_or_a_network() {
        let config = config(&[("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")]).unwrap();
        assert!(config.trusts_proxy([10, 1, 2, 3].into()) && config.trusts_proxy([127, 0, 0, 1].into()));
        assert!(!config.trusts_proxy([127, 0, 0, 2].into()));
    }
}
