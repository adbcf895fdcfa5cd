//! Secrets in templates: something stands for them until a request is sent.
//!
//! What stands for a secret is a mark that nobody can guess, so that no data can smuggle one in, and that says nothing
//! about the secret: a template may cut, compare or count it and learns nothing.

use super::{
    escape::{Encoding, encode},
    signing::{Claims, mac},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use minijinja::{
    State, Value,
    value::{Enumerator, Object, ObjectRepr},
};
use serde_json::Value as Plain;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tercel_sdk::{Error, Result};
use uuid::Uuid;

const OPEN: char = '\u{27e6}';
const CLOSE: char = '\u{27e7}';
/// The name under which templates find them.
pub const NAME: &str = "secrets";

/// The secrets of one call, and what stands for them in it.
#[derive(Clone)]
pub struct Vault(Arc<Inner>);

struct Inner {
    /// Digits, which no filter changes.
    mark: String,
    secrets: BTreeMap<String, String>,
    /// By number, what a mark stands for.
    marked: Mutex<Vec<Deferred>>,
}

/// What is computed when a request is sent. Texts may have marks in them.
#[derive(Clone)]
pub enum Deferred {
    Secret(String),
    Base64(String),
    Hmac { key: String, text: String, long: bool, base64: bool },
    Jwt(Box<Claims>),
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl Vault {
    /// Only of those that have a value.
    pub fn new(secrets: BTreeMap<String, String>) -> Self {
        let mark = Uuid::new_v4().as_u128().to_string();
        Self(Arc::new(Inner { mark, secrets, marked: Mutex::default() }))
    }

    pub fn value(&self) -> Value {
        Value::from_object(self.clone())
    }

    pub fn is_in(&self, text: &str) -> bool {
        text.contains(&self.0.mark)
    }

    pub fn keep(&self, deferred: Deferred) -> Value {
        let mut marked = self.0.marked.lock().unwrap_or_else(PoisonError::into_inner);
        marked.push(deferred);
        Value::from_object(Marked(format!("{OPEN}{}:{}{CLOSE}", self.0.mark, marked.len() - 1)))
    }

    /// A text with the secrets in it, and whether there were any.
    ///
    /// # Errors
    /// When something else was done with a secret than to let it stand.
    pub fn reveal(&self, text: &str, encoding: Encoding) -> Result<(String, bool)> {
        if !self.is_in(text) {
            return Ok((text.to_owned(), false));
        }
        let open = format!("{OPEN}{}:", self.0.mark);
        let mut pieces = text.split(open.as_str());
        let mut revealed = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (number, rest) = piece.split_once(CLOSE).ok_or_else(spoiled)?;
            let number: usize = number.parse().map_err(|_| spoiled())?;
            let marked = self.0.marked.lock().unwrap_or_else(PoisonError::into_inner).get(number).cloned();
            revealed.push_str(&encode(&self.compute(marked.ok_or_else(spoiled)?)?, encoding));
            revealed.push_str(rest);
        }
        match self.is_in(&revealed) {
            true => Err(spoiled()),
            false => Ok((revealed, true)),
        }
    }

    /// Puts the secrets into the texts of a JSON.
    ///
    /// # Errors
    /// When something else was done with a secret than to let it stand.
    pub fn reveal_in(&self, value: &mut Plain) -> Result<()> {
        match value {
            Plain::String(text) => {
                let (revealed, changed) = self.reveal(text, Encoding::None)?;
                if changed {
                    *text = revealed;
                }
            }
            Plain::Array(list) => list.iter_mut().try_for_each(|item| self.reveal_in(item))?,
            Plain::Object(map) => map.values_mut().try_for_each(|item| self.reveal_in(item))?,
            _ => {}
        }
        Ok(())
    }

    fn compute(&self, deferred: Deferred) -> Result<String> {
        let plain = |text: &str| -> Result<String> { Ok(self.reveal(text, Encoding::None)?.0) };
        match deferred {
            Deferred::Secret(key) => self.0.secrets.get(&key).cloned().ok_or_else(spoiled),
            Deferred::Base64(text) => Ok(BASE64.encode(plain(&text)?)),
            Deferred::Hmac { key, text, long, base64 } => Ok(mac(&plain(&key)?, &plain(&text)?, long, base64)),
            Deferred::Jwt(mut claims) => {
                self.reveal_in(&mut claims.header)?;
                self.reveal_in(&mut claims.claims)?;
                claims.sign(&plain(&claims.key)?)
            }
        }
    }
}

fn spoiled() -> Error {
    Error::schema("A secret can only stand as it is, or in base64, hmac or jwt: no other filter can change it")
}

impl Object for Vault {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let key = key.as_str().filter(|key| self.0.secrets.contains_key(*key))?;
        Some(self.keep(Deferred::Secret(key.to_owned())))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

/// What stands for a secret.
#[derive(Debug)]
struct Marked(String);

impl Object for Marked {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub fn vault(state: &State) -> Option<Arc<Vault>> {
    state.lookup(NAME)?.downcast_object::<Vault>()
}

/// Whether a text is what stands for a secret, and nothing else.
pub fn is_mark(state: &State, text: &str) -> bool {
    let Some(vault) = vault(state) else { return false };
    let inner = text.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE));
    inner.and_then(|inner| inner.strip_prefix(vault.0.mark.as_str())).is_some_and(|rest| !rest.contains(OPEN))
}

pub fn text(value: &Value) -> String {
    if value.is_none() { String::new() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Engine, Names, Scope},
        *,
    };

    fn check(source: &str, encoding: Encoding) -> Result<String, String> {
        let vault =
            Vault::new([("token", "p@ss/w\u{f6}rd"), ("key", "Jefe")].map(|(k, v)| (k.into(), v.into())).into());
        let names = Names::default().only("secrets", ["token", "key", "unset"]).any("data");
        let mut engine = Engine::new();
        let template = engine.template(source, &names).map_err(|words| words.join("; "))?;
        let scope = Scope::default().with("secrets", vault.value()).with("data", "\u{27e6}0:0\u{27e7}");
        let text = engine.render(&template, &scope).map_err(|error| error.message)?;
        assert!(!text.contains("p@ss") && !text.contains("Jefe"), "{text}");
        vault.reveal(&text, encoding).map(|(text, _)| text).map_err(|error| error.message)
    }

    #[test]
    fn a_secret_is_there_when_it_is_sent_and_not_before() {
        assert_eq!(check("Bearer {{ secrets.token }}!", Encoding::None).unwrap(), "Bearer p@ss/w\u{f6}rd!");
        assert_eq!(check("{{ secrets.token }}", Encoding::Segment).unwrap(), "p%40ss%2Fw%C3%B6rd");
        assert_eq!(check("[{{ secrets.unset }}]", Encoding::None).unwrap(), "[]");
        assert_eq!(check("{{ 'yes' if secrets.token else 'no' }}", Encoding::None).unwrap(), "yes");
        assert_eq!(check("{{ 'yes' if secrets.unset else 'no' }}", Encoding::None).unwrap(), "no");
    }

    #[test]
    fn what_is_made_of_a_secret_is_made_when_it_is_sent() {
        assert_eq!(check("{{ ('me:' ~ secrets.key) | base64 }}", Encoding::None).unwrap(), BASE64.encode("me:Jefe"));
        assert_eq!(check("{{ secrets.key | base64 | base64 }}", Encoding::None).unwrap(), "U21WbVpRPT0=");
        // The second test case of RFC 4231.
        let made = check("{{ hmac(secrets.key, 'what do ya want for nothing?') }}", Encoding::None).unwrap();
        assert_eq!(made, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn nothing_can_be_learned_from_what_stands_for_a_secret() {
        for spoils in ["{{ secrets.token | replace(':', '') }}", "{{ (secrets.token | string)[1:] }}"] {
            assert!(check(spoils, Encoding::None).unwrap_err().contains("can only stand as it is"), "{spoils}");
        }
        assert_eq!(check("{{ secrets.token == 'p@ss/w\u{f6}rd' }}", Encoding::None).unwrap(), "false");
        assert_eq!(check("{{ data }}", Encoding::None).unwrap(), "\u{27e6}0:0\u{27e7}", "nobody guesses a mark");
    }
}
