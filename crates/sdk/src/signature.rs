//! Webhook signature schemes: the public ones by name, and a recipe for any other HMAC.
//!
//! Sources: GitHub "Validating webhook deliveries", Slack "Verifying requests from Slack", Stripe "Check the webhook
//! signatures", standardwebhooks.com specification 1.0.

use crate::{Error, Refusal};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256, Sha512};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use subtle::ConstantTimeEq;

const WINDOW: Duration = Duration::from_secs(300);

/// How a service proves that a request is its own.
#[derive(Clone)]
pub struct Scheme {
    name: &'static str,
    secret: Vec<u8>,
    proof: Proof,
}

#[derive(Clone)]
enum Proof {
    /// The header holds the secret itself.
    Token { header: String, prefix: String },
    /// The header holds an HMAC.
    Hmac(Recipe),
    /// `t=<time>,v1=<hex>[,v1=<hex>]` over `<time>.<body>`.
    Stripe,
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature: v1,<base64> …` over `<id>.<time>.<body>`.
    Standard,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Algorithm {
    #[default]
    Sha256,
    Sha512,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// An HMAC in a header, for a service whose scheme has no name of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe {
    /// The header that holds the signature.
    pub header: String,
    /// What stands before the signature in that header: `sha256=`.
    pub prefix: String,
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    /// What is signed, with `{timestamp}` and `{body}` filled in; the bare body when empty.
    pub signs: String,
    /// The header that holds the time in seconds; with it, a request outside `max_age` is refused.
    pub timestamp: Option<String>,
    /// How far the time may be off, either way; 5 minutes when absent.
    pub max_age: Option<Duration>,
}

/// Schemes that need nothing but a secret, as manifests call them.
pub const NAMED: [&str; 6] = ["github", "gitlab", "slack", "stripe", "standard", "bearer"];

impl Scheme {
    /// One of [`NAMED`].
    pub fn named(name: &str, secret: &str) -> Option<Self> {
        Some(match name {
            "github" => Self::github(secret),
            "gitlab" => Self::token("x-gitlab-token", secret),
            "slack" => Self::slack(secret),
            "stripe" => Self::stripe(secret),
            "standard" => Self::standard(secret),
            "bearer" => Self::bearer(secret),
            _ => return None,
        })
    }

    /// `X-Hub-Signature-256: sha256=<hex>` over the body.
    pub fn github(secret: &str) -> Self {
        let recipe = Recipe { header: "x-hub-signature-256".into(), prefix: "sha256=".into(), ..Recipe::default() };
        Self { name: "github", secret: secret.into(), proof: Proof::Hmac(recipe) }
    }

    /// `X-Slack-Signature: v0=<hex>` over `v0:<time>:<body>`, five minutes.
    pub fn slack(signing_secret: &str) -> Self {
        let recipe = Recipe {
            header: "x-slack-signature".into(),
            prefix: "v0=".into(),
            signs: "v0:{timestamp}:{body}".into(),
            timestamp: Some("x-slack-request-timestamp".into()),
            ..Recipe::default()
        };
        Self { name: "slack", secret: signing_secret.into(), proof: Proof::Hmac(recipe) }
    }

    /// `Stripe-Signature: t=<time>,v1=<hex>` over `<time>.<body>`, five minutes.
    pub fn stripe(secret: &str) -> Self {
        Self { name: "stripe", secret: secret.into(), proof: Proof::Stripe }
    }

    /// Standard Webhooks. A secret that starts with `whsec_` is Base64, any other is taken as it is.
    pub fn standard(secret: &str) -> Self {
        let key = secret.strip_prefix("whsec_").and_then(|encoded| BASE64.decode(encoded).ok());
        Self { name: "standard", secret: key.unwrap_or_else(|| secret.into()), proof: Proof::Standard }
    }

    /// The secret itself in a header (GitLab, Telegram).
    pub fn token(header: &str, secret: &str) -> Self {
        let proof = Proof::Token { header: header.to_lowercase(), prefix: String::new() };
        Self { name: "token", secret: secret.into(), proof }
    }

    /// `Authorization: Bearer <secret>`.
    pub fn bearer(secret: &str) -> Self {
        let proof = Proof::Token { header: "authorization".into(), prefix: "Bearer ".into() };
        Self { name: "bearer", secret: secret.into(), proof }
    }

    /// `Authorization: Basic <user:password>`.
    pub fn basic(user: &str, password: &str) -> Self {
        let proof = Proof::Token { header: "authorization".into(), prefix: "Basic ".into() };
        Self { name: "basic", secret: BASE64.encode(format!("{user}:{password}")).into(), proof }
    }

    /// # Errors
    /// A recipe that proves less than it seems to: the body or the time is not signed.
    pub fn hmac(secret: &str, recipe: Recipe) -> Result<Self, Error> {
        recipe.check()?;
        Ok(Self { name: "hmac", secret: secret.into(), proof: Proof::Hmac(recipe) })
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether an id in a header is proved, too: it is signed, or nobody else could have sent the request.
    pub fn covers_headers(&self) -> bool {
        match self.proof {
            Proof::Token { .. } | Proof::Standard => true,
            Proof::Hmac(_) | Proof::Stripe => false,
        }
    }

    /// The header that holds the signature, or the secret itself.
    pub fn proof_header(&self) -> &str {
        match &self.proof {
            Proof::Token { header, .. } => header,
            Proof::Hmac(recipe) => &recipe.header,
            Proof::Stripe => "stripe-signature",
            Proof::Standard => "webhook-signature",
        }
    }

    /// # Errors
    /// A refusal that says what is missing or wrong, never what would have been right.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<(), Refusal> {
        if self.secret.is_empty() {
            return Err(Refusal::signature("No secret is set for this webhook"));
        }
        match &self.proof {
            Proof::Token { header, prefix } => {
                let given = required(headers, header)?;
                let token = given.strip_prefix(prefix.as_str()).unwrap_or_default();
                matches(&[token.as_bytes()], &self.secret)
            }
            Proof::Hmac(recipe) => {
                let given = required(headers, &recipe.header)?;
                let time = match &recipe.timestamp {
                    Some(header) => in_window(required(headers, header)?, now, recipe.max_age.unwrap_or(WINDOW))?,
                    None => "",
                };
                let encoded = given.strip_prefix(recipe.prefix.as_str()).unwrap_or_default();
                let signature = recipe.encoding.decode(encoded);
                matches(&[&signature], &recipe.mac(&self.secret, time, body))
            }
            Proof::Stripe => {
                let parts: Vec<_> = required(headers, "stripe-signature")?
                    .split(',')
                    .filter_map(|p| p.trim().split_once('='))
                    .collect();
                let time = parts.iter().find(|(key, _)| *key == "t").map_or("", |(_, value)| value);
                let time = in_window(time, now, WINDOW)?;
                let given: Vec<_> = parts
                    .iter()
                    .filter(|(key, _)| *key == "v1")
                    .map(|(_, value)| Encoding::Hex.decode(value))
                    .collect();
                matches(&given, &sha256(&self.secret, &[time.as_bytes(), b".", body]))
            }
            Proof::Standard => {
                let id = required(headers, "webhook-id")?;
                let time = in_window(required(headers, "webhook-timestamp")?, now, WINDOW)?;
                let given: Vec<_> = required(headers, "webhook-signature")?
                    .split(' ')
                    .filter_map(|part| part.strip_prefix("v1,"))
                    .map(|encoded| Encoding::Base64.decode(encoded))
                    .collect();
                matches(&given, &sha256(&self.secret, &[id.as_bytes(), b".", time.as_bytes(), b".", body]))
            }
        }
    }

    /// The headers that prove `body` at that time.
    pub fn sign(&self, body: &[u8], now: SystemTime) -> HeaderMap {
        self.sign_as(&hex::encode(&Sha256::digest(body)[..16]), body, now)
    }

    /// The same with a message id of the caller's, where the scheme has one.
    pub fn sign_as(&self, id: &str, body: &[u8], now: SystemTime) -> HeaderMap {
        let time = seconds(now).to_string();
        let mut headers = HeaderMap::new();
        let mut put = |name: &str, value: String| {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        };
        match &self.proof {
            Proof::Token { header, prefix } => {
                put(header, format!("{prefix}{}", String::from_utf8_lossy(&self.secret)))
            }
            Proof::Hmac(recipe) => {
                let mac = recipe.mac(&self.secret, &time, body);
                put(&recipe.header, format!("{}{}", recipe.prefix, recipe.encoding.encode(&mac)));
                if let Some(header) = &recipe.timestamp {
                    put(header, time);
                }
            }
            Proof::Stripe => {
                let mac = sha256(&self.secret, &[time.as_bytes(), b".", body]);
                put("stripe-signature", format!("t={time},v1={}", hex::encode(mac)));
            }
            Proof::Standard => {
                let mac = sha256(&self.secret, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
                put("webhook-id", id.into());
                put("webhook-signature", format!("v1,{}", BASE64.encode(mac)));
                put("webhook-timestamp", time);
            }
        }
        headers
    }
}

impl Recipe {
    /// A time that nobody signed is anybody's: an old request with a new time would be taken.
    fn check(&self) -> Result<(), Error> {
        let signs = |what: &str| self.signs.contains(what);
        let wrong = if !self.signs.is_empty() && !signs("{body}") {
            "`signs` has no `{body}`: anybody could send another one with the same signature"
        } else if self.timestamp.is_some() && !signs("{timestamp}") {
            "`timestamp` names a header, but `signs` has no `{timestamp}`: anybody could change the time"
        } else if self.timestamp.is_none() && signs("{timestamp}") {
            "`signs` has a `{timestamp}`, but `timestamp` does not say which header holds it"
        } else {
            return Ok(());
        };
        Err(Error::schema(format!("The recipe of the signature is not right: {wrong}")))
    }

    fn mac(&self, secret: &[u8], time: &str, body: &[u8]) -> Vec<u8> {
        let template = if self.signs.is_empty() { "{body}" } else { &self.signs };
        let (before, after) = template.split_once("{body}").unwrap_or((template, ""));
        let (before, after) = (before.replace("{timestamp}", time), after.replace("{timestamp}", time));
        let pieces = [before.as_bytes(), body, after.as_bytes()];
        match self.algorithm {
            Algorithm::Sha256 => sha256(secret, &pieces),
            Algorithm::Sha512 => {
                let mac = Hmac::<Sha512>::new_from_slice(secret).expect("an HMAC key may have any length");
                pieces.iter().fold(mac, |mac, piece| mac.chain_update(piece)).finalize().into_bytes().to_vec()
            }
        }
    }
}

impl Encoding {
    /// What cannot be decoded is empty and matches nothing.
    fn decode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Hex => hex::decode(text).unwrap_or_default(),
            Self::Base64 => BASE64.decode(text).unwrap_or_default(),
        }
    }

    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
        }
    }
}

fn sha256(secret: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("an HMAC key may have any length");
    pieces.iter().fold(mac, |mac, piece| mac.chain_update(piece)).finalize().into_bytes().to_vec()
}

fn required<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, Refusal> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Refusal::signature(format!("Header `{name}` is missing: the request is not signed")))
}

fn in_window(time: &str, now: SystemTime, window: Duration) -> Result<&str, Refusal> {
    let signed_at: u64 = time.parse().map_err(|_| Refusal::signature("The signature has no usable time"))?;
    let off = signed_at.abs_diff(seconds(now));
    if off > window.as_secs() {
        return Err(Refusal::signature(format!(
            "The signature's time is {off} seconds off; {} are allowed. Is a clock wrong?",
            window.as_secs()
        )));
    }
    Ok(time)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

fn matches(given: &[impl AsRef<[u8]>], expected: &[u8]) -> Result<(), Refusal> {
    if given.iter().any(|candidate| bool::from(candidate.as_ref().ct_eq(expected))) {
        Ok(())
    } else {
        Err(Refusal::signature("The signature does not match: is the secret the same on both sides?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::try_from(*k).unwrap(), HeaderValue::try_from(*v).unwrap())).collect()
    }

    #[test]
    fn the_example_in_githubs_documentation_verifies() {
        let scheme = Scheme::github("It's a Secret to Everybody");
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(scheme.verify(&headers(&[("x-hub-signature-256", signature)]), b"Hello, World!", at(0)), Ok(()));
    }

    #[test]
    fn the_example_in_slacks_documentation_verifies() {
        let scheme = Scheme::slack("8f742231b10e8888abcd99yyyzzz85a5");
        let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
        let given = headers(&[
            ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
            ("x-slack-request-timestamp", "1531420618"),
        ]);
        assert_eq!(scheme.verify(&given, body, at(1_531_420_618)), Ok(()));
        assert!(scheme.verify(&given, body, at(1_531_420_618 + 301)).is_err());
    }

    #[test]
    fn the_example_in_the_standard_webhooks_specification_verifies() {
        let scheme = Scheme::standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let given = headers(&[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ]);
        assert_eq!(scheme.verify(&given, br#"{"test": 2432232314}"#, at(1_614_265_330)), Ok(()));
    }

    /// Stripe publishes no example with its secret: this one was made by Python's `hmac`.
    #[test]
    fn a_signature_of_stripe_that_another_program_made_verifies() {
        let scheme = Scheme::stripe("whsec_a_secret");
        let made = "966c5244da4bf8a21befcdca0236264ffcd9d6b7b97179451e474c71f008cedd";
        let given = headers(&[("stripe-signature", &format!("t=1492774577,v0=00,v1={made}"))]);
        assert_eq!(scheme.verify(&given, br#"{"id": "evt_1"}"#, at(1_492_774_577)), Ok(()));
    }

    #[test]
    fn what_a_scheme_signs_it_verifies_and_nothing_else() {
        let recipe = Recipe {
            header: "x-sig".into(),
            algorithm: Algorithm::Sha512,
            encoding: Encoding::Base64,
            signs: "{timestamp}|{body}|end".into(),
            timestamp: Some("x-time".into()),
            ..Recipe::default()
        };
        let now = at(1_700_000_000);
        for make in [
            |s: &str, _: &Recipe| Scheme::github(s),
            |s: &str, _: &Recipe| Scheme::slack(s),
            |s: &str, _: &Recipe| Scheme::stripe(s),
            |s: &str, _: &Recipe| Scheme::standard(s),
            |s: &str, _: &Recipe| Scheme::token("X-Gitlab-Token", s),
            |s: &str, _: &Recipe| Scheme::bearer(s),
            |s: &str, _: &Recipe| if s.is_empty() { Scheme::bearer(s) } else { Scheme::basic("me", s) },
            |s: &str, recipe: &Recipe| Scheme::hmac(s, recipe.clone()).unwrap(),
        ] {
            let scheme = make("secret", &recipe);
            let signed = scheme.sign(b"body", now);
            assert!(signed.contains_key(scheme.proof_header()), "{}", scheme.name());
            assert_eq!(scheme.verify(&signed, b"body", now), Ok(()), "{}", scheme.name());
            assert!(make("other", &recipe).verify(&signed, b"body", now).is_err(), "{}", scheme.name());
            assert!(make("", &recipe).verify(&signed, b"body", now).is_err(), "{}", scheme.name());
            assert!(scheme.verify(&HeaderMap::new(), b"body", now).is_err(), "{}", scheme.name());
            if !matches!(scheme.proof, Proof::Token { .. }) {
                assert!(scheme.verify(&signed, b"b0dy", now).is_err(), "{}", scheme.name());
            }
        }
    }

    #[test]
    fn an_old_request_is_refused_whatever_the_scheme() {
        let recipe = |max_age| Recipe {
            header: "x-sig".into(),
            signs: "{timestamp}.{body}".into(),
            timestamp: Some("x-time".into()),
            max_age,
            ..Recipe::default()
        };
        let minute = Some(Duration::from_secs(60));
        for (scheme, window) in [
            (Scheme::stripe("secret"), 300),
            (Scheme::standard("secret"), 300),
            (Scheme::slack("secret"), 300),
            (Scheme::hmac("secret", recipe(None)).unwrap(), 300),
            (Scheme::hmac("secret", recipe(minute)).unwrap(), 60),
        ] {
            let signed = scheme.sign(b"body", at(1_700_000_000));
            for (off, is_taken) in
                [(0, true), (window, true), (-window, true), (window + 1, false), (-window - 1, false)]
            {
                let now = at((1_700_000_000_i64 + off).unsigned_abs());
                assert_eq!(scheme.verify(&signed, b"body", now).is_ok(), is_taken, "{} {off}", scheme.name());
            }
        }
    }

    #[test]
    fn a_recipe_that_proves_less_than_it_seems_to_is_not_made() {
        let time = || Some("x-time".to_owned());
        for (signs, timestamp, is_right) in [
            ("", None, true),
            ("v1:{body}", None, true),
            ("{timestamp}.{body}", time(), true),
            ("", time(), false),
            ("{body}", time(), false),
            ("{timestamp}", time(), false),
            ("{timestamp}.{body}", None, false),
        ] {
            let recipe = Recipe { header: "x-sig".into(), signs: signs.into(), timestamp, ..Recipe::default() };
            assert_eq!(Scheme::hmac("secret", recipe).is_ok(), is_right, "{signs}");
        }
    }

    #[test]
    fn a_signature_of_an_empty_or_odd_form_is_refused() {
        let scheme = Scheme::github("secret");
        for value in ["", "sha256=", "sha256=zz", "sha1=00", "757107"] {
            assert!(scheme.verify(&headers(&[("x-hub-signature-256", value)]), b"", at(0)).is_err(), "{value}");
        }
    }
}
