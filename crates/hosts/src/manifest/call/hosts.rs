//! Which hosts an integration calls: those that are written in its manifest, those in its fields, and those it asks for.

use super::Service;
use tercel_sdk::{Error, Host, Kind, Result, field::FieldType};
use url::Url;

#[derive(Debug, Clone, Default)]
pub struct Hosts {
    /// `api.example`, or `*.example` for all below.
    pub named: Vec<String>,
}

impl Hosts {
    fn has(&self, host: &str) -> bool {
        self.named.iter().any(|named| match named.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
            None => named.eq_ignore_ascii_case(host),
        })
    }
}

impl Service {
    /// # Errors
    /// `forbidden` for a host that nobody named.
    pub fn check_host(&self, host: &Host, url: &Url, base: Option<&Url>) -> Result<()> {
        let name = url.host_str().unwrap_or_default();
        let is_same = |other: &Url| other.host_str() == Some(name);
        let of_fields = || {
            let fields = self.fields.iter().filter(|field| field.kind == FieldType::Url);
            fields.filter_map(|field| host.optional(&field.key)?.trim().parse::<Url>().ok()).any(|url| is_same(&url))
        };
        if base.is_some_and(is_same) || self.hosts.has(name) || of_fields() {
            return Ok(());
        }
        let message = format!("`{name}` is no host of `{}`", host.integration());
        Err(Error::new(Kind::Forbidden, message).hint("Name it in `permissions.hosts` of integration.yaml"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_by_its_whole_name() {
        let hosts = Hosts { named: vec!["api.example".into(), "*.cdn.example".into()] };
        for known in ["api.example", "API.example", "a.cdn.example", "a.b.cdn.example"] {
            assert!(hosts.has(known), "{known}");
        }
        for other in
            ["example", "xapi.example", "api.example.evil.example", "cdn.example", ".cdn.example", "acdn.example"]
        {
            assert!(!hosts.has(other), "{other}");
        }
    }
}
