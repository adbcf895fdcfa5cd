//! Which hosts an integration names: `api.example.com`, `*.example.com`, each with a port or without.

use super::HostPort;
use anyhow::{Result, bail, ensure};
use url::Host;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosts {
    /// Whatever is asked for.
    Any,
    Named(Vec<Pattern>),
}

impl Default for Hosts {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    host: String,
    /// Of a `*.`: every name below, and not the name itself.
    below: bool,
    port: Option<u16>,
}

impl Hosts {
    pub fn parse<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Self> {
        names.into_iter().map(|name| pattern(name.as_ref())).collect::<Result<_>>().map(Self::Named)
    }

    pub fn name(&self, place: &HostPort) -> bool {
        let Self::Named(patterns) = self else { return true };
        patterns.iter().any(|pattern| {
            let named = match pattern.below {
                true => {
                    place.host.strip_suffix(&pattern.host).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
                }
                false => place.host == pattern.host,
            };
            named && pattern.port.is_none_or(|port| port == place.port)
        })
    }
}

fn pattern(name: &str) -> Result<Pattern> {
    let (below, rest) = match name.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, name),
    };
    let wrong = || format!("`{name}` is no host: write one as api.example.com, *.example.com or api.example.com:8443");
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => bail!(wrong()),
        },
        _ => (rest, None),
    };
    ensure!(!host.is_empty() && !host.contains('*'), wrong());
    let Some(host) = plain(host) else { bail!(wrong()) };
    ensure!(!below || host.parse::<std::net::IpAddr>().is_err() && host.contains('.'), wrong());
    Ok(Pattern { host, below, port })
}

/// A host in the one way in which it is compared: lower case, no dot at the end, an address as it is usually written.
pub fn plain(host: &str) -> Option<String> {
    let host = match Host::parse(host).ok()? {
        Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_canonical().to_string(),
    };
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(named: &[&str], asked: &str) -> bool {
        let (host, port) = asked.rsplit_once(':').unwrap();
        let place = HostPort { host: plain(host).unwrap(), port: port.parse().unwrap() };
        Hosts::parse(named).unwrap().name(&place)
    }

    #[test]
    fn a_host_is_named_exactly_or_by_what_it_is_below() {
        assert!(check(&["api.example.com"], "api.example.com:443"));
        assert!(check(&["API.example.com."], "api.EXAMPLE.com.:80"));
        assert!(check(&["*.example.com"], "a.b.example.com:443"));
        assert!(check(&["bücher.example"], "xn--bcher-kva.example:443"));
        assert!(!check(&["*.example.com"], "example.com:443"));
        assert!(!check(&["*.example.com"], "badexample.com:443"));
        assert!(!check(&["example.com"], "api.example.com:443"));
        assert!(!check(&["example.com"], "example.com.evil.org:443"));
        assert!(!check(&[], "example.com:443"));
    }

    #[test]
    fn a_port_counts_when_it_is_written() {
        assert!(check(&["example.com:8443"], "example.com:8443"));
        assert!(!check(&["example.com:8443"], "example.com:443"));
        assert!(check(&["[2001:db8::1]:443"], "[2001:db8::1]:443"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for name in
            ["", "*", "*.", "*.com", "*.1.2.3.4", "a.*.com", "https://example.com", "example.com:x", "a b", "*.*.x.org"]
        {
            let error = Hosts::parse([name]).unwrap_err().to_string();
            assert!(error.contains("api.example.com"), "{name}: {error}");
        }
    }
}
