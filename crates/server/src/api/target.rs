//! `dispatch_type` and `dispatch_config` of requests, read into targets.

use super::error::{Error, Result};
use crate::app::App;
use serde_json::{Map, Value};
use tercel_sdk::Target;
use tercel_store::MASK;

/// A `dispatch_config` as JSON.
pub type Config = Map<String, Value>;

/// The target of a `dispatch_config` that names its own type.
pub fn whole(config: Config) -> Result<Target> {
    let Some(kind) = kind_of(&config)? else {
        return Err(Error::invalid(
            "dispatch_config: it needs a `type`: none, webhook, internal or the name of an integration",
        ));
    };
    unmasked(Target::new(&kind, Value::Object(config)))
}

/// The type is the given one, else the one in the config, else the one of the target that stands, else `none`.
pub fn over(standing: Option<Target>, kind: Option<String>, config: Option<Config>) -> Result<Option<Target>> {
    if kind.is_none() && config.is_none() {
        return Ok(None);
    }
    let own = config.as_ref().map(kind_of).transpose()?.flatten();
    let kind = kind.or(own).or_else(|| Some(standing.as_ref()?.kind.clone())).unwrap_or_else(|| "none".into());
    super::request::name("dispatch_type", &kind, 64)?;
    let config = match (config, standing) {
        (Some(config), _) => config,
        (None, Some(standing)) if standing.kind == kind => standing.config,
        (None, _) => Config::new(),
    };
    unmasked(Target::new(&kind, Value::Object(config))).map(Some)
}

/// Gives what came back masked the value that is stored.
pub fn restored(app: &App, mut config: Config, stored: Option<&str>) -> Config {
    let stored = stored.and_then(|sealed| app.open_target(sealed).ok());
    if let Some(stored) = stored {
        config.iter_mut().for_each(|(key, value)| restore(value, stored.config.get(key)));
    }
    config
}

/// Whether two sealed targets are the same one.
pub fn is_same(app: &App, one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => {
            app.open_target(one).ok().is_some_and(|one| app.open_target(other).ok() == Some(one))
        }
        _ => false,
    }
}

fn restore(value: &mut Value, stored: Option<&Value>) {
    match (value, stored) {
        (Value::Object(map), Some(Value::Object(stored))) => {
            map.iter_mut().for_each(|(key, value)| restore(value, stored.get(key)));
        }
        (Value::Array(list), Some(Value::Array(stored))) => {
            list.iter_mut().zip(stored).for_each(|(value, stored)| restore(value, Some(stored)));
        }
        (value, Some(stored)) if value == MASK => *value = stored.clone(),
        _ => {}
    }
}

fn kind_of(config: &Config) -> Result<Option<String>> {
    match config.get("type") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(kind)) => {
            super::request::name("dispatch_config.type", kind, 64).map(|()| Some(kind.clone()))
        }
        Some(_) => Err(Error::invalid("dispatch_config.type: a string is expected")),
    }
}

fn unmasked(mut target: Target) -> Result<Target> {
    target.config.shift_remove("type");
    if has_mask(&Value::Object(target.config.clone())) {
        return Err(Error::invalid(format!("dispatch_config: `{MASK}` stands where a secret belongs; send its value")));
    }
    Ok(target)
}

fn has_mask(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().any(has_mask),
        Value::Array(list) => list.iter().any(has_mask),
        value => value == MASK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(value: Value) -> Option<Config> {
        value.as_object().cloned()
    }

    #[test]
    fn the_given_type_wins_then_the_configs_then_the_standing_one() {
        let standing = || Some(Target::new("forum", json!({"channel": "C1"})));
        let kind = |kind: Option<&str>, value: Value| {
            over(standing(), kind.map(str::to_owned), config(value))
                .unwrap()
                .map(|target| (target.kind, target.config.len()))
        };
        assert_eq!(kind(Some("webhook"), json!({"type": "x", "url": "u"})), Some(("webhook".into(), 1)));
        assert_eq!(kind(None, json!({"type": "x", "url": "u"})), Some(("x".into(), 1)));
        assert_eq!(kind(None, json!({"channel": "C2"})), Some(("forum".into(), 1)));
        assert_eq!(kind(Some("forum"), Value::Null), Some(("forum".into(), 1)));
        assert_eq!(kind(Some("none"), Value::Null), Some(("none".into(), 0)));
        assert_eq!(kind(None, Value::Null), None);
        assert_eq!(over(None, None, config(json!({}))).unwrap().map(|target| target.kind), Some("none".into()));
    }

    #[test]
    fn a_mask_is_never_taken_for_a_secret() {
        assert!(whole(config(json!({"type": "x", "auth": {"token": MASK}})).unwrap()).is_err());
        let mut value = json!({"auth": {"token": MASK}, "url": "new"});
        restore(&mut value, Some(&json!({"auth": {"token": "t"}, "url": "old"})));
        assert_eq!(value, json!({"auth": {"token": "t"}, "url": "new"}));
    }
}
