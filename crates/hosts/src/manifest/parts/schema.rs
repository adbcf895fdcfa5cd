//! Arguments and targets: what they are like, what they are when nobody says, and whether they fit.

use crate::manifest::{
    compile::Compiler,
    keys::{At, Entries, Json, Text},
    template::{Engine, Names, Scope, Shape},
};
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use serde_saphyr::Location;
use tercel_sdk::{Error, Result};

/// Properties of an object.
pub struct Object {
    pub schema: Value,
    validator: Validator,
    /// What stands where nobody said anything.
    defaults: Vec<(String, Shape)>,
}

/// Compiles properties, whose defaults may be templates where `names` says so.
pub fn compile(c: &mut Compiler, what: &str, properties: &Entries<At<Value>>, names: Option<&Names>) -> Option<Object> {
    let mut shown = Map::new();
    let mut required = Vec::new();
    let mut defaults = Vec::new();
    let at = properties.0.first().map_or(Location::UNKNOWN, |(_, schema)| schema.at);
    for (name, schema) in &properties.0 {
        let mut schema_of = schema.value.clone();
        if !schema_of.is_object() {
            c.wrong(schema.at, format!("{what} `{name}` is described by a mapping: `{{type: string}}`"));
            continue;
        }
        match schema_of.get("default").cloned() {
            None => required.push(name.clone()),
            Some(default) => {
                let shape = match (names, &default) {
                    (Some(names), Value::String(source)) => {
                        let text = Text { source: source.clone(), at: schema.at };
                        c.json(&Json::Text(text), names)
                    }
                    _ => Shape::Fixed(default.clone()),
                };
                // A template says nothing to whoever reads the schema.
                if !matches!(shape, Shape::Fixed(_))
                    && let Some(map) = schema_of.as_object_mut()
                {
                    map.remove("default");
                }
                defaults.push((name.clone(), shape));
            }
        }
        shown.insert(name.clone(), schema_of);
    }
    let schema = json!({
        "type": "object",
        "properties": shown,
        "required": required,
        "additionalProperties": false,
    });
    match jsonschema::validator_for(&schema) {
        Ok(validator) => Some(Object { schema, validator, defaults }),
        Err(error) => {
            c.wrong(at, format!("{what}s are described by JSON Schema, and this is none: {}", error.masked()));
            None
        }
    }
}

impl Object {
    pub fn names(&self) -> Vec<String> {
        self.schema["properties"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }

    /// What was given, with what stands where nothing was.
    pub fn complete(&self, engine: &Engine, given: &mut Map<String, Value>, scope: &Scope) -> Result<()> {
        for (name, shape) in &self.defaults {
            if given.get(name).is_none_or(Value::is_null) {
                given.remove(name);
                // A null says that there is none.
                let value = engine.fill(shape, scope)?.filter(|value| !value.is_null());
                given.extend(value.map(|value| (name.clone(), value)));
            }
        }
        Ok(())
    }

    /// # Errors
    /// What does not fit, without the values.
    pub fn check(&self, what: &str, given: &Value) -> Result<()> {
        let wrong: Vec<String> = self
            .validator
            .iter_errors(given)
            .take(5)
            .map(|error| match error.instance_path().to_string() {
                path if path.is_empty() => error.masked().to_string(),
                path => format!("{path}: {}", error.masked()),
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(Error::schema(format!("{what} does not fit: {}", wrong.join("; ")))) }
    }
}
