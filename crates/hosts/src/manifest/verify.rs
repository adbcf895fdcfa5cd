//! How a webhook proves that it is the service's own: exactly one way.

use super::units;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use tercel_sdk::{
    Scheme, Verify,
    signature::{Algorithm, Encoding, Recipe},
};

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Github(String),
    Gitlab(String),
    Slack(String),
    Stripe(String),
    Standard(String),
    Bearer(String),
    Header(Header),
    Hmac(Hmac),
    None(String),
}

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
    let way: Way = serde_json::from_value(verify.clone()).map_err(|error| {
        format!(
            "`verify` is one of github, gitlab, slack, stripe, standard, bearer with a field, header, hmac, or none with a \
             reason: {error}"
        )
    })?;
    let (field, scheme): (String, Make) = match way {
        Way::None(reason) => return Ok(Check::Nobody(reason)),
        Way::Github(field) => (field, Box::new(|secret| Ok(Scheme::github(secret)))),
        Way::Gitlab(field) => (field, Box::new(|secret| Ok(Scheme::token("x-gitlab-token", secret)))),
        Way::Slack(field) => (field, Box::new(|secret| Ok(Scheme::slack(secret)))),
        Way::Stripe(field) => (field, Box::new(|secret| Ok(Scheme::stripe(secret)))),
        Way::Standard(field) => (field, Box::new(|secret| Ok(Scheme::standard(secret)))),
        Way::Bearer(field) => (field, Box::new(|secret| Ok(Scheme::bearer(secret)))),
        Way::Header(Header { name, secret }) => (secret, Box::new(move |secret| Ok(Scheme::token(&name, secret)))),
        Way::Hmac(hmac) => {
            let secret = hmac.secret.clone();
            let recipe = recipe(hmac)?;
            Scheme::hmac("", recipe.clone()).map_err(|error| error.message)?;
            (secret, Box::new(move |secret| Scheme::hmac(secret, recipe.clone())))
        }
    };
    if !known(&field) {
        return Err(format!("There is no field `{field}` that could hold the secret"));
    }
    Ok(Check::By(Arc::new(move |host| scheme(host.field(&field)?))))
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
