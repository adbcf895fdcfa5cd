//! Texts of a manifest: templates, expressions, and JSON whose texts are templates.

use super::place::{At, Entries};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};
use serde_saphyr::Location;
use std::{borrow::Cow, fmt};

/// A template: `{{ … }}` in it is filled in.
#[derive(Debug, Clone)]
pub struct Text {
    pub source: String,
    pub at: Location,
}

/// An expression, without braces.
#[derive(Debug, Clone)]
pub struct Expr {
    pub source: String,
    pub at: Location,
}

/// JSON whose texts are templates.
#[derive(Debug, Clone)]
pub enum Json {
    Fixed(Value),
    Text(Text),
    List(Vec<Json>),
    Map(Entries<Json>),
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value: source, at } = At::deserialize(deserializer)?;
        Ok(Self { source, at })
    }
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value: Bare(source), at } = At::deserialize(deserializer)?;
        Ok(Self { source, at })
    }
}

/// What YAML takes for something else than text is told with what to do about it.
struct Bare(String);

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Bare;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bare, E> {
                Ok(Bare(text.to_owned()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Bare, E> {
                Ok(Bare(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Bare, E> {
                Ok(Bare(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Bare, E> {
                Ok(Bare(value.to_string()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Bare, E> {
                Ok(Bare(value.to_string()))
            }

            fn visit_unit<E: Error>(self) -> Result<Bare, E> {
                Ok(Bare("none".into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Bare, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Err(A::Error::custom("an expression stands here, and YAML reads a list: put it in quotes"))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bare, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Err(A::Error::custom("an expression stands here, and YAML reads a mapping: put it in quotes"))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let At { value, at } = At::deserialize(deserializer)?;
        Ok(match value {
            Node::Text(source) => Self::Text(Text { source, at }),
            Node::Fixed(value) => Self::Fixed(value),
            Node::List(list) => Self::List(list),
            Node::Map(map) => Self::Map(map),
        })
    }
}

enum Node {
    Fixed(Value),
    Text(String),
    List(Vec<Json>),
    Map(Entries<Json>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, true, false, null, a list or a mapping")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Fixed(value.into()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Fixed(value.into()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Fixed(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
                let number = Number::from_f64(value).ok_or_else(|| E::custom("this is no number that JSON has"))?;
                Ok(Node::Fixed(number.into()))
            }

            fn visit_unit<E: Error>(self) -> Result<Node, E> {
                Ok(Node::Fixed(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Map(Entries(entries)))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "A template: `{{ … }}` in it is filled in, escaped as its place needs it",
        })
    }
}

impl JsonSchema for Expr {
    fn schema_name() -> Cow<'static, str> {
        "Expression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "An expression, without braces: `response.json.items`",
        })
    }
}

impl JsonSchema for Json {
    fn schema_name() -> Cow<'static, str> {
        "TemplateValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "JSON whose texts are templates; one that is only `{{ x }}` keeps the type of `x`, and a null drops its key",
        })
    }
}
