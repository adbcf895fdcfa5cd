//! Taking secrets out of what services and models say: before it is stored, logged, shown or told to a model.

mod tail;

pub use tail::Tail;

use crate::catalog::{Entry, Values};
use aho_corasick::{AhoCorasick, MatchKind};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeSet, sync::Arc};
use tercel_sdk::{Error, Field, chat::Answer, field::FieldType};
use tercel_store::MASK;
use url::Url;

/// Shorter values occur by chance in any text.
const SHORTEST: usize = 8;
/// Shorter words of an address may be names of something.
const TOKEN: usize = 16;

/// Finds secrets in the forms in which they may occur, all in one pass. Made once for each snapshot of the catalog.
#[derive(Default)]
pub struct Redactor {
    /// None when there is nothing to find.
    forms: Option<AhoCorasick>,
    /// The forms themselves, for texts that are still coming.
    words: Vec<String>,
}

impl Redactor {
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let forms: BTreeSet<String> = secrets
            .into_iter()
            .map(|secret| secret.trim().to_owned())
            .filter(|secret| secret.len() >= SHORTEST)
            .flat_map(|secret| forms(&secret))
            .collect();
        let build = || {
            // The longest of those that begin at one place, so that no rest of a longer one stays.
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&forms)
                .expect("secrets are far shorter than an automaton may be")
        };
        Self { forms: (!forms.is_empty()).then(build), words: forms.into_iter().collect() }
    }

    /// The secrets of the server itself and of all connections.
    pub fn of<'e>(own: impl Iterator<Item = String>, entries: impl Iterator<Item = &'e Arc<Entry>>) -> Self {
        let theirs =
            entries.flat_map(|entry| entry.connections.values().flat_map(|v| secrets(&entry.integration.fields, v)));
        Self::new(own.chain(theirs))
    }

    /// The text itself when no secret is in it.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match &self.forms {
            Some(forms) if forms.is_match(text) => {
                let mut masked = String::with_capacity(text.len());
                forms.replace_all_with(text, &mut masked, |_, _, masked| {
                    masked.push_str(MASK);
                    true
                });
                Cow::Owned(masked)
            }
            _ => Cow::Borrowed(text),
        }
    }

    pub fn json(&self, mut value: Value) -> Value {
        if self.forms.is_some() {
            self.mask_json(&mut value);
        }
        value
    }

    pub fn error(&self, mut error: Error) -> Error {
        self.mask(&mut error.message);
        error.hint.iter_mut().for_each(|hint| self.mask(hint));
        error
    }

    /// What a model says is stored and sent, and what it asks for is done.
    pub fn answer(&self, mut answer: Answer) -> Answer {
        self.mask(&mut answer.text);
        for call in &mut answer.tool_calls {
            self.mask(&mut call.name);
            self.mask(&mut call.arguments);
        }
        answer.repairs.iter_mut().for_each(|repair| self.mask(repair));
        answer
    }

    fn mask(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }

    fn mask_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.mask(text),
            Value::Array(list) => list.iter_mut().for_each(|value| self.mask_json(value)),
            Value::Object(map) => {
                if map.keys().any(|key| matches!(self.text(key), Cow::Owned(_))) {
                    *map = std::mem::take(map).into_iter().map(|(k, v)| (self.text(&k).into_owned(), v)).collect();
                }
                map.values_mut().for_each(|value| self.mask_json(value));
            }
            _ => {}
        }
    }
}

/// The secrets among the values of a connection, and those that were before them.
pub fn secrets(fields: &[Field], values: &Values) -> Vec<String> {
    let secret = fields.iter().filter(|field| field.secret);
    let of = |field: &Field| {
        let earlier = values.earlier.get(&field.key).map(|(value, _)| value);
        let both = [values.fields.get(&field.key), earlier].into_iter().flatten();
        both.flat_map(|value| pieces(field, value)).collect::<Vec<_>>()
    };
    secret.flat_map(of).chain(given(fields, values)).collect()
}

/// What a service gave that nobody entered, and what is kept until somebody has agreed.
fn given(fields: &[Field], values: &Values) -> Vec<String> {
    let consents = [&values.consent, &values.draft].into_iter().flatten().flat_map(|consent| consent.secrets());
    let asking = values.asking.iter().flat_map(|asking| asking.secrets());
    let is_secret = |key: &String| fields.iter().any(|field| field.secret && field.key == *key);
    let changes = values.asking.iter().flat_map(|asking| &asking.changes).filter(|(key, _)| is_secret(key));
    consents.chain(asking).chain(changes.filter_map(|(_, value)| value.clone())).collect()
}

/// Of an address that is a secret, what is behind the host is one, and each word in it that looks like a token.
fn pieces(field: &Field, value: &str) -> Vec<String> {
    let mut pieces = vec![value.to_owned()];
    if field.kind == FieldType::Url
        && let Ok(url) = value.trim().parse::<Url>()
    {
        let behind = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let is_token = |word: &str| word.len() >= TOKEN && word.contains(|c: char| c.is_ascii_digit());
        let words = url.path_segments().into_iter().flatten().map(str::to_owned);
        let words = words.chain(url.query_pairs().map(|(_, value)| value.into_owned()));
        pieces.extend(words.filter(|word| is_token(word)));
        // Behind a host that is all there is, nothing is secret.
        pieces.extend(Some(behind).filter(|behind| behind.len() >= TOKEN));
    }
    pieces
}

fn forms(secret: &str) -> Vec<String> {
    let in_address = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let in_json = Value::from(secret).to_string().trim_matches('"').to_owned();
    let mut forms = vec![secret.to_owned(), in_address, in_json];
    // What base64 makes of it depends on how many bytes stand before it; its first and last letters also on which.
    for (before, mixed) in [(0, 0), (1, 2), (2, 3)] {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(secret.as_bytes());
        bytes.truncate(bytes.len() / 3 * 3);
        forms.extend([&STANDARD_NO_PAD, &URL_SAFE_NO_PAD].map(|base64| base64.encode(&bytes)[mixed..].to_owned()));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redactor() -> Redactor {
        Redactor::new(["s3cret/+value".into(), "s3cret/+value-longer".into(), "a \"quoted\" one".into(), "abc".into()])
    }

    #[test]
    fn a_secret_is_found_in_all_its_forms_and_short_ones_are_let_be() {
        let shown = redactor().json(json!({
            "plain": ["say s3cret/+value abc", "s3cret/+value-longer"],
            "url": "?key=s3cret%2F%2Bvalue&x",
            "json": json!({"said": "a \"quoted\" one"}).to_string(),
            "s3cret/+value": 1,
        }));
        let expected = json!({
            "plain": [format!("say {MASK} abc"), MASK],
            "url": format!("?key={MASK}&x"),
            "json": format!("{{\"said\":\"{MASK}\"}}"),
            MASK: 1,
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_behind_the_host_of_a_secret_address_is_a_secret_as_well() {
        let field = Field { secret: true, ..Field::url("hook", "Hook") };
        let url = "https://chat.example/incoming-webhooks-of/T0/x1y2z3x1y2z3x1y2z3?key=9f8e7d6c5b4a39281706";
        let values = Values { fields: Arc::new([("hook".to_owned(), url.to_owned())].into()), ..Values::default() };
        let redactor = Redactor::new(secrets(std::slice::from_ref(&field), &values));
        for quoted in [
            url,
            "POST /incoming-webhooks-of/T0/x1y2z3x1y2z3x1y2z3?key=9f8e7d6c5b4a39281706",
            "token x1y2z3x1y2z3x1y2z3",
            "9f8e7d6c5b4a39281706 is unknown",
        ] {
            let shown = redactor.text(quoted);
            assert!(!shown.contains("x1y2z3") && !shown.contains("9f8e7d") && shown.contains(MASK), "{shown}");
        }
        assert_eq!(
            redactor.text("https://chat.example has incoming-webhooks-of T0"),
            "https://chat.example has incoming-webhooks-of T0"
        );
        let plain = Field { secret: false, ..field };
        assert_eq!(secrets(&[plain], &values), [] as [String; 0]);
    }

    #[test]
    fn base64_hides_nothing_wherever_the_secret_stands_in_it() {
        for before in ["", "u", "us", "use", "user:"] {
            for base64 in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let written = base64.encode(format!("{before}s3cret/+value and more"));
                let shown = redactor().text(&written).into_owned();
                assert!(shown.contains(MASK), "{written} became {shown}");
                let (start, end) = shown.split_once(MASK).unwrap();
                assert!(written.len() - start.len() - end.len() >= 12, "{written} became {shown}");
            }
        }
    }

    #[test]
    fn text_without_a_secret_is_not_even_copied() {
        let text = "nothing to see here, not even s3cret/+valu".repeat(100);
        assert!(matches!(redactor().text(&text), Cow::Borrowed(_)));
        assert!(matches!(Redactor::default().text(&text), Cow::Borrowed(_)));
    }

    #[test]
    fn errors_and_answers_of_models_are_masked_whole() {
        let error = Error::schema("not s3cret/+value").hint("try s3cret/+value");
        let error = redactor().error(error);
        assert_eq!((error.message, error.hint), (format!("not {MASK}"), Some(format!("try {MASK}"))));
        let answer = json!({
            "text": "s3cret/+value", "model": "m", "repairs": ["of s3cret/+value"],
            "tool_calls": [{"id": "1", "name": "t", "arguments": "{\"a\":\"a \\\"quoted\\\" one\"}"}],
        });
        let answer = redactor().answer(serde_json::from_value(answer).unwrap());
        let call = &answer.tool_calls[0];
        assert_eq!((answer.text.as_str(), &answer.repairs[0]), (MASK, &format!("of {MASK}")));
        assert_eq!(call.arguments, format!("{{\"a\":\"{MASK}\"}}"));
    }
}
