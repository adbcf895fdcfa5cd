//! What of what came becomes a message or a run.

use super::{
    place::{At, Entries},
    text::{Expr, Json, Text},
    units::Span,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{borrow::Cow, fmt};

/// What of what came becomes a message or a run. The first whose `when` holds takes the item.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    pub name: At<String>,
    /// The poll that it comes from; otherwise it comes by webhook.
    pub from: Option<At<String>>,
    /// The list whose items are events of their own: `body.alerts`. Without this the body is the item.
    pub each: Option<Expr>,
    pub when: Option<Expr>,
    /// The lasting place that it is about: with `alerts` of `forge`, the client id is `forge:alerts`.
    pub session: Text,
    /// A conversation of its own in that place.
    pub thread: Option<Text>,
    /// What the agent reads. It is marked as untrusted.
    pub prompt: Text,
    #[serde(default)]
    pub run: Run,
    /// One run for all that come in a while.
    pub merge: Option<Merge>,
    /// After one, further ones are stored and not run for a while.
    pub cooldown: Option<Cooldown>,
    /// What is older when its turn comes is not run any more.
    pub shelf_life: Option<Span>,
    /// Where the answer goes: what `dispatch` wants to know. Without this, where the operator said.
    pub target: Option<Entries<Json>>,
}

/// What becomes of an event.
#[derive(Debug, Clone)]
pub enum Run {
    Agent(Brief),
    /// No model: the text itself goes to the target.
    Relay,
    /// It is kept, and nothing else.
    Store,
}

impl Default for Run {
    fn default() -> Self {
        Self::Agent(Brief::default())
    }
}

/// What the run has beyond what its bot has.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Brief {
    /// A system message just before the prompt.
    pub preamble: Option<Text>,
    pub skills: Vec<At<String>>,
    pub tools: Vec<At<String>>,
    pub model: Option<String>,
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Run;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`none`, `store`, or a mapping with `preamble`, `skills`, `tools` and `model`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Run, E> {
                match text {
                    "none" => Ok(Run::Relay),
                    "store" => Ok(Run::Store),
                    _ => Err(E::custom(format!("`{text}` is nothing that can be run: `none`, `store`, or a mapping"))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Run, A::Error> {
                Brief::deserialize(MapAccessDeserializer::new(map)).map(Run::Agent)
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Run {
    fn schema_name() -> Cow<'static, str> {
        "Run".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let brief = generator.subschema_for::<Brief>();
        schemars::json_schema!({"oneOf": [
            {"const": "none", "description": "No model: the text itself goes to the target"},
            {"const": "store", "description": "It is kept, and nothing else"},
            brief,
        ]})
    }
}

/// One run for all that come in a while.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Merge {
    /// Those with the same value are merged.
    pub by: Expr,
    /// How long the first waits for others.
    #[serde(rename = "for")]
    pub time: Span,
    /// How many one run takes at the most.
    #[schemars(range(min = 2, max = 1000))]
    pub max: Option<At<u32>>,
}

/// A pause after a run.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cooldown {
    /// Those with the same value share the pause.
    pub by: Expr,
    #[serde(rename = "for")]
    pub time: Span,
}
