//! How a webhook proves that it is the service's own: exactly one way.

use super::units;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::sync::Arc;
use tercel_sdk::{
    Error, Kind, Scheme, Verify,
    signature::{Algorithm, Encoding, NAMED, Recipe},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    name: String,
    secret: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hmac {
    secret: String,
    header: String,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    algorithm: AlgorithmName,
    #[serde(default)]
    encoding: EncodingName,
    #[serde(default)]
    signs: String,
    timestamp: Option<String>,
    max_age: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AlgorithmName {
    #[default]
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EncodingName {
    #[default]
    Hex,
    Base64,
}

/// A scheme out of the secret.
type Make = Box<dyn Fn(&str) -> tercel_sdk::Result<Scheme> + Send + Sync>;

pub enum Check {
    By(Verify),
    /// Nobody checks, and why.
    Nobody(String),
}

pub fn check(verify: &Value, known: &impl Fn(&str) -> bool) -> Result<Check, String> {
    let ways = || format!("`verify` is one of {} with a field, or header, hmac, none with a reason", NAMED.join(", "));
    let mut entries = verify.as_object().ok_or_else(ways)?.iter();
    let (Some((way, value)), None) = (entries.next(), entries.next()) else { return Err(ways()) };
    let (field, scheme): (String, Make) = match way.as_str() {
        "none" => return Ok(Check::Nobody(read(way, value)?)),
        "header" => {
            let Header { name, secret } = read(way, value)?;
            (secret, Box::new(move |secret| Ok(Scheme::token(&name, secret))))
        }
        "hmac" => {
            let hmac: Hmac = read(way, value)?;
            let secret = hmac.secret.clone();
            let recipe = recipe(hmac)?;
            Scheme::hmac("", recipe.clone()).map_err(|error| error.message)?;
            (secret, Box::new(move |secret| Scheme::hmac(secret, recipe.clone())))
        }
        named if NAMED.contains(&named) => {
            let named = named.to_owned();
            let unknown = || Error::new(Kind::Unsupported, "This scheme is not known");
            (read(way, value)?, Box::new(move |secret| Scheme::named(&named, secret).ok_or_else(unknown)))
        }
        _ => return Err(ways()),
    };
    if !known(&field) {
        return Err(format!("There is no field `{field}` that could hold the secret"));
    }
    Ok(Check::By(Arc::new(move |host| scheme(host.field(&field)?))))
}

fn read<T: DeserializeOwned>(way: &str, value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| format!("`verify: {way}`: {error}"))
}

fn recipe(hmac: Hmac) -> Result<Recipe, String> {
    let wrong = |text| format!("`{text}` is not a duration such as 5m");
    let max_age = hmac.max_age.map(|text| units::duration(&text).ok_or_else(|| wrong(text)));
    Ok(Recipe {
        header: hmac.header,
        prefix: hmac.prefix,
        algorithm: match hmac.algorithm {
            AlgorithmName::Sha256 => Algorithm::Sha256,
            AlgorithmName::Sha512 => Algorithm::Sha512,
        },
        encoding: match hmac.encoding {
            EncodingName::Hex => Encoding::Hex,
            EncodingName::Base64 => Encoding::Base64,
        },
        signs: signed(&hmac.signs),
        timestamp: hmac.timestamp,
        max_age: max_age.transpose()?,
    })
}

/// `{{ raw }}` is the body.
fn signed(template: &str) -> String {
    let template = template.replace("{{ raw }}", "{body}").replace("{{raw}}", "{body}");
    template.replace("{{ timestamp }}", "{timestamp}").replace("{{timestamp}}", "{timestamp}")
}
