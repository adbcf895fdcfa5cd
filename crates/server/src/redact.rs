//! Taking secrets out of what is shown: traces, steps, deliveries.

use crate::app::App;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use secrecy::ExposeSecret;
use serde_json::Value;
use tercel_store::MASK;

/// Shorter values occur by chance in any text.
const SHORTEST: usize = 6;

/// Every secret that the server knows, in the forms in which it may occur.
pub struct Redactor {
    /// Longest first, so that no rest of a longer one stays.
    forms: Vec<String>,
}

impl Redactor {
    pub fn of(app: &App) -> Self {
        let catalog = app.catalog();
        let config = &app.config;
        let own = [&config.api_key, &config.encryption_key, &config.llm.api_key];
        let mut secrets: Vec<String> =
            own.into_iter().flatten().map(|secret| secret.expose_secret().to_owned()).collect();
        for entry in catalog.integrations.values() {
            for field in entry.integration.fields.iter().filter(|field| field.secret) {
                secrets.extend(entry.connections.values().filter_map(|values| values.fields.get(&field.key).cloned()));
            }
        }
        Self::new(&secrets)
    }

    fn new(secrets: &[String]) -> Self {
        let mut forms: Vec<String> = secrets
            .iter()
            .map(|secret| secret.trim())
            .filter(|secret| secret.len() >= SHORTEST)
            .flat_map(|secret| {
                let encoded = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
                // Without its end, base64 is the same wherever the secret begins a text.
                let base64 = STANDARD.encode(&secret.as_bytes()[..secret.len() / 3 * 3]);
                [secret.to_owned(), encoded, base64, URL_SAFE_NO_PAD.encode(secret)]
            })
            .collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms }
    }

    pub fn text(&self, text: &str) -> String {
        self.forms
            .iter()
            .fold(text.to_owned(), |text, form| if text.contains(form) { text.replace(form, MASK) } else { text })
    }

    pub fn json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => self.text(&text).into(),
            Value::Array(list) => list.into_iter().map(|value| self.json(value)).collect(),
            Value::Object(map) => map.into_iter().map(|(key, value)| (key, self.json(value))).collect(),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_is_found_in_all_its_forms_and_short_ones_are_let_be() {
        let redactor = Redactor::new(&["s3cret/+value".into(), "s3cret/+value-longer".into(), "abc".into()]);
        let shown = redactor.json(json!({
            "plain": ["say s3cret/+value abc", "s3cret/+value-longer"],
            "url": "?key=s3cret%2F%2Bvalue&x",
            "base64": format!("Basic {}", STANDARD.encode("s3cret/+value")),
        }));
        assert_eq!(
            shown,
            json!({"plain": [format!("say {MASK} abc"), MASK], "url": format!("?key={MASK}&x"), "base64": shown["base64"]})
        );
        assert!(!shown["base64"].as_str().unwrap().contains(&STANDARD.encode("s3cret/+val")[..12]));
    }
}
