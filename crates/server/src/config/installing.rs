//! What of the environment programs need that install packages: proxies, certificates, where the packages are.

use std::collections::BTreeMap;

const PREFIXES: [&str; 3] = ["UV_", "PIP_", "SSL_CERT_"];
const NAMES: [&str; 7] =
    ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE", "HOME", "XDG_CACHE_HOME"];

pub fn of(environment: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_wanted = |name: &str| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
    };
    let wanted = environment.iter().filter(|(name, _)| is_wanted(name));
    wanted.map(|(name, value)| (name.clone(), value.clone())).collect()
}
