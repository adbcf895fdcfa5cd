//! What texts can sign with a secret. It is done when a request is sent, so that no text ever has the secret.

use super::secret::{Deferred, text, vault};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use minijinja::{Environment, Error, ErrorKind, State, Value, value::Kwargs};
use serde_json::Value as Plain;
use sha2::{Sha256, Sha512};
use tercel_sdk::{Result, jwt};

pub fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("base64", |state: &State, value: &Value| -> Value {
        let text = text(value);
        match vault(state).filter(|vault| vault.is_in(&text)) {
            Some(vault) => vault.keep(Deferred::Base64(text)),
            None => BASE64.encode(text).into(),
        }
    });
    environment.add_function("hmac", hmac);
    environment.add_function("jwt", signed_claims);
}

fn wrong(words: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, words)
}

fn hmac(state: &State, key: &Value, message: &Value, options: Kwargs) -> Result<Value, Error> {
    let long = match options.get::<Option<&str>>("algorithm")?.unwrap_or("sha256") {
        "sha256" => false,
        "sha512" => true,
        _ => return Err(wrong("hmac has the algorithms sha256 and sha512")),
    };
    let base64 = match options.get::<Option<&str>>("encoding")?.unwrap_or("hex") {
        "hex" => false,
        "base64" => true,
        _ => return Err(wrong("hmac has the encodings hex and base64")),
    };
    options.assert_all_used()?;
    let (key, text) = (text(key), text(message));
    Ok(match vault(state).filter(|vault| vault.is_in(&key) || vault.is_in(&text)) {
        Some(vault) => vault.keep(Deferred::Hmac { key, text, long, base64 }),
        None => mac(&key, &text, long, base64).into(),
    })
}

pub fn mac(key: &str, text: &str, long: bool, base64: bool) -> String {
    let bytes = match long {
        true => {
            let mac = Hmac::<Sha512>::new_from_slice(key.as_bytes()).expect("an HMAC key may have any length");
            mac.chain_update(text).finalize().into_bytes().to_vec()
        }
        false => {
            let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("an HMAC key may have any length");
            mac.chain_update(text).finalize().into_bytes().to_vec()
        }
    };
    if base64 { BASE64.encode(bytes) } else { hex::encode(bytes) }
}

/// What a JSON Web Token will say, and with what it will be signed.
#[derive(Clone)]
pub struct Claims {
    pub algorithm: jwt::Algorithm,
    pub header: Plain,
    pub claims: Plain,
    pub key: String,
    /// The key is written in hexadecimal digits.
    pub hex: bool,
}

impl Claims {
    pub fn sign(&self, key: &str) -> Result<String> {
        let header = self.header.as_object().cloned().unwrap_or_default();
        match self.hex {
            false => jwt::sign(self.algorithm, &header, &self.claims, key.trim().as_bytes()),
            true => {
                let key =
                    hex::decode(key.trim()).map_err(|_| tercel_sdk::Error::schema("The key is not in hexadecimal"))?;
                jwt::sign(self.algorithm, &header, &self.claims, &key)
            }
        }
    }
}

/// `jwt({iss: …, exp: now.unix + 600}, secrets.key, algorithm='RS256', headers={kid: …})`
fn signed_claims(state: &State, claims: &Value, key: &Value, options: Kwargs) -> Result<Value, Error> {
    let vault = vault(state).ok_or_else(|| wrong("jwt can stand in requests only"))?;
    let algorithm = jwt::Algorithm::named(options.get::<Option<&str>>("algorithm")?.unwrap_or("RS256"));
    let algorithm = algorithm.ok_or_else(|| wrong("jwt has the algorithms RS256, ES256 and HS256"))?;
    let hex = match options.get::<Option<&str>>("encoding")?.unwrap_or("text") {
        "text" => false,
        "hex" if algorithm == jwt::Algorithm::Hs256 => true,
        _ => return Err(wrong("jwt has the encodings text and, for HS256, hex")),
    };
    let header = options.get::<Option<Value>>("headers")?;
    options.assert_all_used()?;
    let json = |value: &Value| match serde_json::to_value(value) {
        Ok(Plain::Object(map)) => Ok(Plain::Object(map)),
        _ => Err(wrong("claims and headers of a jwt are mappings")),
    };
    let header = header.map_or_else(|| Ok(Plain::Object(Default::default())), |header| json(&header))?;
    let key = text(key);
    if key.is_empty() {
        return Err(wrong("the key of the jwt has no value"));
    }
    let claims = Claims { algorithm, header, claims: json(claims)?, key, hex };
    Ok(vault.keep(Deferred::Jwt(Box::new(claims))))
}

#[cfg(test)]
mod tests {
    use super::super::{Encoding, Engine, Names, Scope, Vault};
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    fn check(source: &str) -> Result<String, String> {
        let secrets = [("key", "5f2a"), ("id", "a\"b")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        let vault = Vault::new(secrets.into());
        let names = Names::default().only("secrets", ["key", "id", "unset"]).any("data");
        let mut engine = Engine::new();
        let template = engine.template(source, &names).map_err(|words| words.join("; "))?;
        let scope = Scope::default().with("secrets", vault.value()).with("data", "x");
        let text = engine.render(&template, &scope).map_err(|error| error.message)?;
        assert!(!text.contains("5f2a"), "{text}");
        vault.reveal(&text, Encoding::None).map(|(text, _)| text).map_err(|error| error.message)
    }

    #[test]
    fn claims_are_signed_when_the_request_is_sent() {
        let made =
            check("{{ jwt({'iss': secrets.id, 'n': 1}, secrets.key, algorithm='HS256', headers={'kid': data}) }}")
                .unwrap();
        let parts: Vec<&str> = made.split('.').collect();
        let read = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        assert_eq!(read(parts[0]), json!({"kid": "x", "alg": "HS256", "typ": "JWT"}));
        assert_eq!(read(parts[1]), json!({"iss": "a\"b", "n": 1}), "what is in a secret breaks nothing");
        let other = check(
            "{{ jwt({'iss': secrets.id, 'n': 1}, secrets.key, algorithm='HS256', encoding='hex', headers={'kid': data}) }}",
        );
        assert_ne!(other.unwrap().rsplit('.').next(), made.rsplit('.').next());
    }

    #[test]
    fn what_cannot_be_signed_is_said() {
        for (source, said) in [
            ("{{ jwt({}, secrets.unset) }}", "no value"),
            ("{{ jwt([1], secrets.key) }}", "mappings"),
            ("{{ jwt({}, secrets.key, algorithm='none') }}", "RS256, ES256 and HS256"),
            ("{{ jwt({}, secrets.key) }}", "no private key in PEM"),
            ("{{ jwt({}, secrets.key, encoding='hex') }}", "for HS256, hex"),
            ("{{ jwt({}, secrets.key, algorithm='HS256') | replace(':', '') }}", "stand as it is"),
            ("{{ hmac(secrets.key, data, algorithm='md5') }}", "sha256 and sha512"),
        ] {
            let words = check(source).unwrap_err();
            assert!(words.contains(said), "{source}: {words}");
        }
    }
}
