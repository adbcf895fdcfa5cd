//! Where an integration calls: who may say so, and which stored secrets do not go along to another server.

use super::draft::Change;
use crate::catalog::{Entry, Source, Values};
use serde_json::{Map, Value};
use tercel_sdk::Field;
use tercel_store::MASK;

/// How a field is called by those who give values.
pub type Name = fn(&Field) -> &str;

/// Takes those addresses out of what is given that are in force already: whoever sends a form back does not say them.
/// A blank is none.
///
/// # Errors
/// The field that would get another address.
pub fn take_out_known<'e>(
    entry: &'e Entry,
    connection: &str,
    given: &mut Map<String, Value>,
    name: Name,
) -> Result<(), &'e Field> {
    for field in entry.integration.fields.iter().filter(|field| Values::is_address(field)) {
        let said = match given.get(name(field)) {
            None | Some(Value::Null) => continue,
            Some(value) => value.as_str().map(str::trim),
        };
        let in_force = match entry.values(connection) {
            Some(values) => values.fields.get(&field.key),
            None => field.default.as_ref(),
        };
        match said {
            Some("") => continue,
            Some(said) if said == MASK || in_force.is_some_and(|in_force| in_force == said) => {}
            _ => return Err(field),
        }
        given.remove(name(field));
    }
    Ok(())
}

/// What is stored for one server and would be sent to another one.
pub struct LeftBehind<'e> {
    /// What says the other one.
    pub address: &'e Field,
    /// Nobody gave them again.
    pub secrets: Vec<&'e Field>,
    /// There are tokens that a person agreed to.
    pub consent: bool,
}

/// What a change of an address leaves behind. Secrets by which requests of a service are verified, and those that are made
/// here for that, stay.
pub fn left_behind<'e>(entry: &'e Entry, connection: &str, changes: &[Change]) -> Option<LeftBehind<'e>> {
    let values = entry.values(connection)?;
    let fields = &entry.integration.fields;
    let change = |field: &Field| changes.iter().find(|(key, _)| *key == field.key);
    let moves = |field: &&Field| {
        let (Some((_, value)), Some(before)) = (change(field), values.fields.get(&field.key)) else { return false };
        value.as_ref().or(field.default.as_ref()).is_none_or(|after| server(after) != server(before))
    };
    let address = fields.iter().filter(|field| Values::is_address(field)).find(moves)?;
    let is_sent =
        |field: &&Field| field.secret && field.rotate.is_none() && !field.generate && !Values::is_address(field);
    let is_kept = |field: &&Field| values.sources.get(&field.key) == Some(&Source::Db) && change(field).is_none();
    let consent = values.consent.as_ref().is_some_and(|consent| consent.over.is_none());
    Some(LeftBehind { address, secrets: fields.iter().filter(is_sent).filter(is_kept).collect(), consent })
}

/// Scheme, host and port; what is no address is told apart by its text.
fn server(text: &str) -> (String, Option<String>, Option<u16>) {
    match text.trim().parse::<url::Url>() {
        Ok(url) => (url.scheme().into(), url.host_str().map(str::to_owned), url.port_or_known_default()),
        Err(_) => (text.into(), None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::server;

    #[test]
    fn another_path_is_the_same_server_and_another_scheme_host_or_port_is_not() {
        let one = server("https://a.example/v1");
        for same in ["https://a.example", "HTTPS://A.example:443/v2?x=1", " https://user@a.example/ "] {
            assert_eq!(server(same), one, "{same}");
        }
        for other in
            ["http://a.example", "https://a.example:8443", "https://b.example", "https://a.example.b", "a.example"]
        {
            assert_ne!(server(other), one, "{other}");
        }
        assert_eq!(server("redis://a:1/0"), server("redis://a:1/1"));
        assert_ne!(server("a"), server("b"));
    }
}
