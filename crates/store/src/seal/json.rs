//! Secrets inside of JSON: what stands under a key that is called like one.

use super::{LEFT_OUT, MASK, PREFIX};
use serde_json::Value;

/// Words that make a key of a `dispatch_config` a secret.
const SECRET_KEYS: [&str; 5] = ["token", "secret", "password", "key", "authorization"];

pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX) || text == LEFT_OUT
}

/// Puts the mask in place of what stands under a secret key.
pub fn mask_secrets(mut json: Value) -> Value {
    visit(&mut json, &mut |value| {
        if !value.is_null() {
            *value = MASK.into();
        }
    });
    json
}

/// What stands under a secret key.
pub fn secrets_in(mut json: Value) -> Vec<String> {
    let mut secrets = Vec::new();
    visit(&mut json, &mut |value| {
        if let Value::String(text) = value {
            secrets.push(std::mem::take(text));
        }
    });
    secrets
}

pub(super) fn visit(json: &mut Value, secret: &mut impl FnMut(&mut Value)) {
    visit_below(json, false, secret);
}

/// Everything below a secret key is secret.
fn visit_below(json: &mut Value, inside: bool, secret: &mut impl FnMut(&mut Value)) {
    match json {
        Value::Object(map) => {
            for (key, value) in map {
                let name = key.to_lowercase();
                visit_below(value, inside || SECRET_KEYS.iter().any(|word| name.ends_with(word)), secret);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| visit_below(value, inside, secret)),
        _ if inside => secret(json),
        _ => {}
    }
}
