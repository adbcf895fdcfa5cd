//! Tokens, with a token server that answers as scripted.

use super::*;
use aws_lc_rs::{
    encoding::AsDer,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tercel_sdk::{
    Error, Integration, Kind,
    field::Field,
    grant::{Authenticates, Flow, OAuth},
    testing::{self, Fake, respond},
};

const SERVER: &str = "https://login.forge.example/token";

fn oauth(flow: Flow, send: Authenticates) -> Grant {
    Grant::OAuth(OAuth {
        flow,
        authorize: Some("https://login.forge.example/authorize".into()),
        token: SERVER.into(),
        device: None,
        revoke: None,
        client_id: "id".into(),
        client_secret: (send != Authenticates::None).then(|| "secret".into()),
        send,
        scopes: vec!["read".into(), "write".into()],
        params: vec![("audience".into(), "api".into())],
    })
}

fn by_client(send: Authenticates) -> Grant {
    oauth(Flow::ClientCredentials, send)
}

struct World {
    fake: Arc<Fake>,
    kept: Arc<Kept>,
    values: Vec<(&'static str, String)>,
    grant: Grant,
}

fn world(grant: Grant) -> World {
    let values = vec![("id", "the client".to_owned()), ("secret", "s:3cret/".to_owned())];
    World { fake: Fake::new(), kept: Arc::default(), values, grant }
}

impl World {
    fn supply(&self) -> Supply {
        let integration = Integration::new("forge")
            .field(Field::text("id", "Client"))
            .field(Field::password("secret", "Secret"))
            .field(Field::password("file", "Key file"));
        let bench = self.values.iter().fold(testing::check(integration), |bench, (key, value)| bench.with(key, value));
        let grant = self.grant.clone();
        Supply::new(self.kept.clone(), Arc::new(move |_| Ok(grant.clone())), bench.world(&self.fake).host(), false)
    }

    /// Each answer once, the last for ever.
    fn answers(&self, answers: &[(u16, Value)]) {
        let left = Mutex::new(answers.to_vec());
        self.fake.on_with("POST /token", move |_| {
            let mut left = left.lock().unwrap();
            let (status, body) = if left.len() > 1 { left.remove(0) } else { left[0].clone() };
            Ok(respond(status, &[], body.as_str().map_or_else(|| body.to_string(), str::to_owned)))
        });
    }

    fn asked(&self) -> usize {
        self.fake.requests().len()
    }

    fn form(&self, number: usize) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(&self.fake.requests()[number].body).into_owned().collect()
    }
}

fn good(token: &str) -> (u16, Value) {
    (200, json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
}

#[tokio::test]
async fn a_client_asks_with_its_own_credentials_in_each_way() {
    let world = world(by_client(Authenticates::Basic));
    world.answers(&[good("t1")]);
    assert_eq!(world.supply().access().await.unwrap(), "t1");
    let request = &world.fake.requests()[0];
    let expected = format!("Basic {}", STANDARD.encode("the+client:s%3A3cret%2F"));
    assert_eq!(request.headers["authorization"], expected.as_str());
    assert!(request.headers["authorization"].is_sensitive());
    let form = world.form(0);
    let expected = [("audience", "api"), ("grant_type", "client_credentials"), ("scope", "read write")];
    assert_eq!(form, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());

    let world = self::world(by_client(Authenticates::Form));
    world.answers(&[good("t1")]);
    world.supply().access().await.unwrap();
    assert_eq!(
        (world.form(0)["client_id"].as_str(), world.form(0)["client_secret"].as_str()),
        ("the client", "s:3cret/")
    );
    assert!(!world.fake.requests()[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn a_token_is_kept_until_it_ends_is_refused_or_belongs_to_somebody_else() {
    let mut world = world(by_client(Authenticates::Basic));
    world.answers(&[
        good("t1"),
        good("t2"),
        good("t3"),
        (200, json!({"access_token": "t4", "expires_in": "0"})),
        good("t5"),
    ]);
    for _ in 0..3 {
        assert_eq!(world.supply().access().await.unwrap(), "t1");
    }
    assert_eq!(world.asked(), 1);
    world.supply().refused("another").await;
    assert_eq!(world.supply().access().await.unwrap(), "t1", "it was another that was refused");
    world.supply().refused("t1").await;
    assert_eq!(world.supply().access().await.unwrap(), "t2");
    world.values[1].1 = "of another app".into();
    assert_eq!(world.supply().access().await.unwrap(), "t3", "other credentials, another token");
    world.values[0].1 = "third".into();
    assert_eq!(world.supply().access().await.unwrap(), "t4");
    assert_eq!(world.supply().access().await.unwrap(), "t5", "this one had ended at once");
}

#[tokio::test]
async fn one_asks_for_all_who_wait() {
    let world = world(by_client(Authenticates::Basic));
    world.answers(&[good("t1")]);
    let supplies: Vec<Supply> = (0..20).map(|_| world.supply()).collect();
    let all = futures::future::join_all(supplies.iter().map(Supply::access)).await;
    assert!(all.into_iter().all(|token| token.unwrap() == "t1"));
    assert_eq!(world.asked(), 1);
}

#[tokio::test]
async fn a_token_server_that_says_no_is_understood_and_asked_again_the_next_time() {
    let no = |code: &str| json!({"error": code, "error_description": "because"});
    for (status, answer, kind, said) in [
        (401, no("invalid_client"), Kind::Auth, "invalid_client (because)"),
        (400, no("unauthorized_client"), Kind::Auth, "unauthorized_client"),
        (400, no("invalid_scope"), Kind::Forbidden, "invalid_scope"),
        (400, no("invalid_request"), Kind::Schema, "invalid_request"),
        (200, no("invalid_client"), Kind::Auth, "invalid_client"),
        (401, json!("<html>no</html>"), Kind::Auth, "No token"),
        (403, json!(""), Kind::Forbidden, "No token"),
        (404, json!("not here"), Kind::NotFound, "not here"),
        (429, no("slow_down"), Kind::RateLimited, "No token"),
        (500, json!({}), Kind::Error, "No token"),
        (503, no("temporarily_unavailable"), Kind::Network, "No token"),
        (200, json!("<html>sign in</html>"), Kind::Schema, "no token in it"),
        (200, json!({"token_type": "bearer"}), Kind::Schema, "no token in it"),
        (200, json!({"access_token": ""}), Kind::Schema, "empty"),
    ] {
        let world = world(by_client(Authenticates::Basic));
        world.answers(&[(status, answer.clone()), good("t1")]);
        let error = world.supply().access().await.unwrap_err();
        assert!(error.kind == kind && error.message.contains(said), "{status} {answer}: {:?} {error}", error.kind);
        assert_eq!(world.supply().access().await.unwrap(), "t1");
    }
    let world = world(by_client(Authenticates::Basic));
    world.answers(&[(401, no("invalid_client"))]);
    let hint = world.supply().access().await.unwrap_err().hint.unwrap();
    assert!(hint.contains("FORGE_ID and FORGE_SECRET"), "{hint}");
    world.fake.on_with("POST /token", |_| Err(Error::new(Kind::Network, "refused")));
    assert_eq!(world.supply().access().await.unwrap_err().kind, Kind::Network);
}

#[tokio::test]
async fn where_somebody_has_to_agree_first_nobody_is_asked() {
    for flow in [Flow::Code, Flow::Device] {
        let world = world(oauth(flow, Authenticates::Basic));
        let error = world.supply().access().await.unwrap_err();
        assert_eq!((error.kind, world.asked()), (Kind::NotConfigured, 0));
    }
    let mut world = world(by_client(Authenticates::Basic));
    world.values.pop();
    let error = world.supply().access().await.unwrap_err();
    assert!(error.kind == Kind::NotConfigured && error.message.contains("FORGE_SECRET"), "{error}");
}

#[tokio::test]
async fn a_rehearsal_asks_nobody() {
    let world = world(by_client(Authenticates::Basic));
    let supply = Supply { rehearses: true, ..world.supply() };
    assert_eq!(supply.access().await.unwrap(), REHEARSED);
    assert_eq!(world.asked(), 0);
}

fn key_file(pair: &RsaKeyPair) -> Value {
    let der = STANDARD.encode(pair.as_der().unwrap().as_ref());
    json!({
        "type": "service_account",
        "client_email": "robot@forge.example",
        "private_key_id": "k1",
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n"),
        "token_uri": SERVER,
    })
}

#[tokio::test]
async fn a_service_account_asks_with_claims_that_its_key_signs() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut world = world(Grant::ServiceAccount { key: "file".into(), scopes: vec!["sheets".into(), "drive".into()] });
    world.values.push(("file", key_file(&pair).to_string()));
    world.answers(&[good("t1")]);
    assert_eq!(world.supply().access().await.unwrap(), "t1");
    let form = world.form(0);
    assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let (signed, signature) = form["assertion"].rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref());
    public.verify(signed.as_bytes(), &signature).unwrap();
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap()).unwrap();
    assert_eq!(
        (&claims["iss"], &claims["scope"], &claims["aud"]),
        (&json!("robot@forge.example"), &json!("sheets drive"), &json!(SERVER))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
}

#[tokio::test]
async fn a_key_file_that_is_none_is_said_and_not_repeated() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let mut broken = key_file(&pair);
    broken["private_key"] = json!("n0t-a-k3y");
    let mut partial = key_file(&pair);
    partial.as_object_mut().unwrap().remove("token_uri");
    for (file, said) in [
        ("n0t-a-k3y".to_owned(), "no JSON"),
        (json!({"private_key": "n0t-a-k3y"}).to_string(), "client_email"),
        (partial.to_string(), "token_uri"),
        (broken.to_string(), "no private key in PEM"),
    ] {
        let mut world = world(Grant::ServiceAccount { key: "file".into(), scopes: vec!["x".into()] });
        world.values.push(("file", file));
        let error = world.supply().access().await.unwrap_err();
        assert!(error.kind == Kind::NotConfigured && error.message.contains(said), "{error}");
        assert!(error.message.contains("FORGE_FILE") && !error.to_string().contains("n0t-a-k3y"), "{error}");
        assert_eq!(world.asked(), 0);
    }
}
