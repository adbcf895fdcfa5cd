//! What comes in by webhook.

use super::{
    action::{Plain, action},
    place::At,
    text::{Expr, Json, Text},
    units::Span,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{borrow::Cow, fmt, sync::LazyLock};
use tercel_sdk::signature::NAMED;

/// Requests of the service to `/integrations/<name>/webhook`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// What the address ends in, if not in `webhook`.
    pub path: Option<At<String>>,
    #[serde(default)]
    pub description: String,
    pub verify: At<Verify>,
    /// Networks that requests may come from.
    #[serde(default)]
    pub from: Vec<At<String>>,
    #[serde(default)]
    pub body: Body,
    #[serde(default)]
    pub dedupe: Dedupe,
    /// What the service wants to read, if something special.
    pub answer: Option<Answer>,
    /// `code`: the code of the folder is given what was received.
    pub events: Option<Events>,
    /// Tells the service where to send what happens: `webhook.url`.
    pub register: Option<Register>,
    /// Tells it that nothing is to come any more; `id` is what `register` found.
    pub unregister: Option<Plain>,
    /// Fetches what was sent while the server was down.
    pub missed: Option<Missed>,
}

/// How a request proves whose it is. Values are names of fields.
#[derive(Debug, Clone)]
pub enum Verify {
    /// One of the public schemes.
    Named(&'static str, At<String>),
    Basic(VerifyBasic),
    /// A header that holds the secret.
    Header(VerifyHeader),
    Hmac(Hmac),
    /// One of the public schemes, as the operator says.
    Chosen(VerifyChosen),
    /// Nothing proves it; the reason is shown on the card.
    None(String),
}

/// Those that are no public schemes.
const OWN: [&str; 5] = ["basic", "header", "hmac", "chosen", "none"];

static WAYS: LazyLock<Vec<&'static str>> = LazyLock::new(|| NAMED.into_iter().chain(OWN).collect());

impl<'de> Deserialize<'de> for Verify {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Verify;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a mapping with exactly one of {}", WAYS.join(", "))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Verify, A::Error> {
                let Some(way) = map.next_key::<String>()? else {
                    return Err(A::Error::custom(format!("`verify` has one of {}", WAYS.join(", "))));
                };
                let verify = match (way.as_str(), NAMED.into_iter().find(|name| *name == way)) {
                    (_, Some(name)) => Verify::Named(name, map.next_value()?),
                    ("basic", _) => Verify::Basic(map.next_value()?),
                    ("header", _) => Verify::Header(map.next_value()?),
                    ("hmac", _) => Verify::Hmac(map.next_value()?),
                    ("chosen", _) => Verify::Chosen(map.next_value()?),
                    ("none", _) => Verify::None(map.next_value()?),
                    _ => return Err(A::Error::unknown_variant(&way, WAYS.as_slice())),
                };
                match map.next_key::<String>()? {
                    None => Ok(verify),
                    Some(other) => Err(A::Error::custom(format!("`verify` has exactly one way: `{way}` or `{other}`"))),
                }
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

impl JsonSchema for Verify {
    fn schema_name() -> Cow<'static, str> {
        "Verify".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = schemars::json_schema!({"type": "string"});
        let of_own = [
            generator.subschema_for::<VerifyBasic>(),
            generator.subschema_for::<VerifyHeader>(),
            generator.subschema_for::<Hmac>(),
            generator.subschema_for::<VerifyChosen>(),
            text.clone(),
        ];
        let ways = NAMED.into_iter().map(|name| (name, text.clone())).chain(OWN.into_iter().zip(of_own));
        let ways: Vec<Schema> = ways
            .map(|(name, value)| {
                schemars::json_schema!({
                    "type": "object",
                    "properties": {name: value},
                    "required": [name],
                    "additionalProperties": false,
                })
            })
            .collect();
        schemars::json_schema!({"oneOf": ways})
    }
}

/// A name and a password.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyBasic {
    pub user: At<String>,
    pub password: At<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyHeader {
    pub name: At<String>,
    pub secret: At<String>,
}

/// One of the public schemes, as the operator says.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyChosen {
    /// The field that says which, by its `options`.
    pub scheme: At<String>,
    pub secret: At<String>,
}

/// An HMAC in a header.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hmac {
    pub secret: At<String>,
    pub header: At<String>,
    /// What stands before the signature: `sha256=`.
    #[serde(default)]
    pub prefix: String,
    #[serde(default)]
    pub algorithm: Algorithm,
    #[serde(default)]
    pub encoding: Encoding,
    /// What is signed, made of `{{ raw }}` and `{{ timestamp }}`; the bare body unless given.
    #[serde(default)]
    pub signs: String,
    /// The header that holds the time in seconds.
    pub timestamp: Option<At<String>>,
    /// How far that time may be off.
    pub max_age: Option<Span>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// What the body is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    #[default]
    Json,
    Form,
    Text,
}

/// How a repetition is known.
#[derive(Debug, Clone, Default)]
pub enum Dedupe {
    /// Equal bodies within a minute are one.
    #[default]
    Body,
    Never,
    Id(DedupeId),
}

/// The same id is the same delivery.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DedupeId {
    pub id: Expr,
    /// For how long; for 30 days unless given.
    pub within: Option<Span>,
}

impl<'de> Deserialize<'de> for Dedupe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Dedupe;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none`, or a mapping with `id`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Dedupe, E> {
                match text {
                    "none" => Ok(Dedupe::Never),
                    _ => Err(E::custom(format!("`{text}` is no way to know a repetition: `none`, or `{{id: …}}`"))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Dedupe, A::Error> {
                DedupeId::deserialize(MapAccessDeserializer::new(map)).map(Dedupe::Id)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Dedupe {
    fn schema_name() -> Cow<'static, str> {
        "Dedupe".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let by_id = generator.subschema_for::<DedupeId>();
        schemars::json_schema!({"oneOf": [{"const": "none", "description": "Every request is a delivery of its own"}, by_id]})
    }
}

/// An answer that the service wants to read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub when: Expr,
    pub text: Option<Text>,
    pub json: Option<Json>,
    #[schemars(range(min = 200, max = 299))]
    pub status: Option<At<u16>>,
}

/// Who makes events of what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Events {
    Code,
}

action! {
    /// Tells the service where to send what happens.
    pub struct Register {
        /// The service's id of that.
        pub id: Option<Expr>,
    }
}

action! {
    /// Fetches what was missed.
    pub struct Missed {
        pub items: Expr,
        /// What the service knows an item by; that of the webhook's `dedupe`.
        pub id: Expr,
        pub pages: Option<super::action::Pages>,
    }
}
