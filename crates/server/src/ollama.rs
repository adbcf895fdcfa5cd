//! Ollama on this machine: looked for on its usual port, and offered.

use crate::{
    config::Config,
    outbound::{self, HostPort, Outbound, Scope},
};
use std::{sync::Arc, time::Duration};
use tercel_models::Provider;
use tercel_sdk::http::Client;

/// On this machine it answers at once, or it is not there.
const LIMIT: Duration = Duration::from_millis(500);

/// What is said to somebody whose Ollama is found; nothing when it is in use already.
pub async fn offer(config: &Config, http: &Client) -> Option<String> {
    let base_url = address(config)?;
    if config.llm.base_url.as_deref().is_some_and(|url| url.starts_with(&base_url)) {
        return None;
    }
    let provider = Provider::Ollama { base_url: base_url.clone(), api_key: None };
    let models = tokio::time::timeout(LIMIT, tercel_models::models(&provider, http)).await.ok()?.ok()?;
    let Some(first) = models.first() else {
        return Some(format!(
            "Ollama runs here without a model: `ollama pull` one, then set LLM_BASE_URL={base_url}/v1"
        ));
    };
    let shown: Vec<&str> = models.iter().take(8).map(String::as_str).collect();
    let more = if models.len() > shown.len() { ", …" } else { "" };
    Some(format!(
        "Ollama runs here with models {}{more}: set LLM_BASE_URL={base_url}/v1 and LLM_MODEL={first}",
        shown.join(", ")
    ))
}

/// The client that may call it, for those who have no server.
pub fn client(config: &Config) -> Option<Client> {
    let (ledger, _) = tokio::sync::mpsc::channel::<outbound::Egress>(1);
    let outbound = Outbound::new(outbound::Options { timeout: LIMIT, ..outbound::Options::new(ledger) }).ok()?;
    Some(through(&outbound, config))
}

pub fn through(outbound: &Arc<Outbound>, config: &Config) -> Client {
    let place = address(config).and_then(|url| url.parse().ok()).and_then(|url| HostPort::of(&url));
    Client::new(outbound.transport(Scope { granted: place.into_iter().collect(), ..Scope::default() }))
}

/// Where `OLLAMA_HOST` says that it listens, as Ollama itself reads it; its usual port otherwise. Elsewhere than on this
/// machine nobody is asked.
fn address(config: &Config) -> Option<String> {
    let said = config.ollama_host();
    let said = if said.contains("://") { said.to_owned() } else { format!("http://{said}") };
    let url = url::Url::parse(&said).ok()?;
    let has_port = said.rsplit(':').next().is_some_and(|tail| tail.trim_end_matches('/').parse::<u16>().is_ok());
    let port = if has_port { url.port_or_known_default()? } else { 11434 };
    let host = match url.host_str()? {
        "0.0.0.0" | "[::]" | "localhost" => "127.0.0.1",
        host => host,
    };
    let is_here = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    is_here.then(|| format!("http://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    #[test]
    fn it_is_looked_for_where_it_listens_and_only_on_this_machine() {
        let of = |host: &str| {
            let mut environment = Environment::default();
            environment.set("OLLAMA_HOST", host);
            address(&Config::from(environment).unwrap())
        };
        let at = |port: u16| Some(format!("http://127.0.0.1:{port}"));
        assert_eq!(
            [of(""), of("0.0.0.0"), of("localhost:80"), of("http://127.0.0.1:9")],
            [at(11434), at(11434), at(80), at(9)]
        );
        assert_eq!([of("192.0.2.7:11434"), of("ollama.example")], [None, None]);
    }

    #[tokio::test]
    async fn nobody_there_is_no_offer() {
        let mut environment = Environment::default();
        environment.set("OLLAMA_HOST", "127.0.0.1:1");
        let config = Config::from(environment).unwrap();
        assert_eq!(offer(&config, &client(&config).unwrap()).await, None);
    }
}
