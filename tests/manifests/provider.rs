//! A provider of tokens and a service that takes them, as RFC 6749, 7009, 7636 and 8628 have it: codes and refresh tokens
//! count once, and whoever uses one twice loses what came of it.

use crate::world::{Service, put};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};
use tercel_tests::{
    Answer, Options, Server,
    loopback::{Reply, Request},
    wait::until_within,
};

pub const CLIENT: &str = "client of the tests";
pub const SECRET: &str = "secret-of-the-tests:0123456789";

/// What is known at the provider.
#[derive(Default)]
pub struct State {
    /// Code: what it was given for.
    codes: BTreeMap<String, Asked>,
    /// Device code: what the person has said, if they have.
    devices: BTreeMap<String, Option<Result<(), &'static str>>>,
    access: BTreeSet<String>,
    refresh: BTreeSet<String>,
    /// In their order.
    used: Vec<String>,
    made: u32,
    /// Who agrees, as they call themselves, and which account that is.
    pub person: String,
    pub account: u32,
    /// What the service says whoever asks whose account it is, instead.
    pub fails: Option<u16>,
    /// Seconds that an access token counts, as it says.
    pub life: Value,
    /// What time it says it is.
    pub date: Option<&'static str>,
    /// A refresh token that was used counts until another one was.
    pub is_lenient: bool,
    /// Who asks for tokens is never answered.
    pub hangs: bool,
    /// What happens before the next answer to this path.
    meanwhile: BTreeMap<&'static str, Box<dyn FnOnce() + Send>>,
    /// It gives no refresh tokens.
    pub keeps_refresh: bool,
    /// Who gives tokens is not there; the service itself is.
    pub is_down: bool,
    /// Codes are over at once.
    pub codes_expire: bool,
    pub revoked: Vec<String>,
    pub plays: usize,
}

#[derive(Clone)]
struct Asked {
    redirect: String,
    challenge: String,
}

pub struct Provider {
    pub service: Service,
    pub state: Arc<Mutex<State>>,
}

const MANIFEST: &str = r#"
schema: 1
name: music
fields:
  - {key: client_id, label: Client, type: text, required: true, help: "Enter {{ oauth.redirect }} there"}
  - {key: client_secret, label: Secret, type: password, required: true}
http:
  base: "SERVICE/v1"
  auth: {oauth2: {flow: FLOW, authorize: "SERVICE/authorize?prompt=consent", token: "SERVICE/token", device: "SERVICE/device", revoke: "SERVICE/revoke", client: {id: client_id, secret: client_secret}, scopes: [SCOPES], params: {show: "yes", state: ours}}}
test: {get: /me, account: response.json.name, account_id: response.json.id}
tools:
  - {name: music_songs, description: Lists songs., effect: read, args: {}, get: /songs, result: response.json}
  - {name: music_play, description: Plays one., args: {song: {type: string}}, post: /plays, json: {song: "{{ args.song }}"}, result: response.json}
"#;

pub const CONNECTION: &str = "/api/v1/admin/integrations/music/connections/default";

impl Provider {
    pub fn start() -> Self {
        let person = State { person: "ada".into(), account: 1, life: json!(3600), ..State::default() };
        let state = Arc::new(Mutex::new(person));
        let service = Service::start();
        let answer = |path: &str, answer: fn(&mut State, &Request) -> Reply| {
            let state = state.clone();
            service.on(path, move |request| {
                let meanwhile = state.lock().unwrap().meanwhile.remove(request.path.as_str());
                if let Some(meanwhile) = meanwhile {
                    // What happens asks servers, as this one answers them.
                    tokio::task::block_in_place(|| thread::spawn(meanwhile).join().unwrap());
                }
                let mut state = state.lock().unwrap();
                let is_down = state.is_down && !request.path.starts_with("/v1/");
                match (is_down, state.hangs && request.path == "/token") {
                    (true, _) => Reply::Close,
                    (_, true) => Reply::Never,
                    _ => answer(&mut state, request),
                }
            });
        };
        answer("POST /token", State::token);
        answer("POST /device", State::device);
        answer("POST /revoke", State::revoke);
        answer("GET /v1/me", |state, request| match state.fails {
            Some(status) => Reply::json(status, &json!({"error": "not now"})),
            None => state.serve(request, |state| json!({"name": state.person, "id": state.account})),
        });
        answer("GET /v1/songs", |state, request| {
            let quoted = request.header("authorization").to_owned();
            state.serve(request, |_| json!({"songs": ["one"], "quoted": quoted}))
        });
        answer("POST /v1/plays", |state, request| {
            state.serve(request, |state| {
                state.plays += 1;
                json!({"played": true})
            })
        });
        Self { service, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn manifest(&self, flow: &str, scopes: &str) -> String {
        MANIFEST.replace("FLOW", flow).replace("SCOPES", scopes).replace("SERVICE", &self.service.url())
    }

    pub fn options(&self, flow: &str) -> Options {
        let options = Options::new().allow_loopback();
        put(&options, "music", &self.manifest(flow, "read, write"));
        options
    }

    pub fn server(&self, flow: &str) -> Server {
        Server::start(self.options(flow))
    }

    /// A server whose person has agreed.
    pub fn agreed(&self, options: Options) -> Server {
        let server = Server::start(options);
        let begun = begin(&server);
        let page = come_back(&server, &self.agree(begun["url"].as_str().unwrap()));
        assert_eq!(page.status, 200, "{page}");
        server
    }

    /// The person agrees in the browser. Answers where it is sent.
    #[track_caller]
    pub fn agree(&self, url: &str) -> String {
        let (asked, query) = self.opened(url);
        let mut state = self.state();
        let code = state.new_secret("code");
        state.codes.insert(code.clone(), asked);
        format!("{}?code={code}&state={}", query["redirect_uri"], query["state"])
    }

    #[track_caller]
    pub fn deny(&self, url: &str) -> String {
        let (_, query) = self.opened(url);
        let more = "error_description=%3Cscript%3Ealert(1)%3C%2Fscript%3E";
        format!("{}?error=access_denied&{more}&state={}", query["redirect_uri"], query["state"])
    }

    #[track_caller]
    fn opened(&self, url: &str) -> (Asked, BTreeMap<String, String>) {
        let url: url::Url = url.parse().unwrap();
        assert_eq!(url.path(), "/authorize");
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let query: BTreeMap<String, String> = pairs.iter().cloned().collect();
        assert_eq!(query.len(), pairs.len(), "each parameter once: {pairs:?}");
        let said = |name: &str| query.get(name).cloned().unwrap_or_default();
        assert_eq!((said("response_type"), said("client_id")), ("code".into(), CLIENT.into()));
        assert_eq!(
            (said("prompt"), said("show"), said("scope")),
            ("consent".into(), "yes".into(), "read write".into())
        );
        assert_eq!(said("code_challenge_method"), "S256");
        assert!(said("state").len() >= 40 && said("code_challenge").len() == 43, "{query:?}");
        let asked = Asked { redirect: said("redirect_uri"), challenge: said("code_challenge") };
        (asked, query)
    }

    /// What the person says of the only code that waits.
    pub fn types(&self, said: Result<(), &'static str>) {
        let mut state = self.state();
        let open = state.devices.values_mut().find(|said| said.is_none()).expect("a code waits");
        *open = Some(said);
    }

    /// Something else happens before the next answer to this path.
    pub fn meanwhile(&self, path: &'static str, happens: impl FnOnce() + Send + 'static) {
        self.state().meanwhile.insert(path, Box::new(happens));
    }

    /// The service does not take any token any more; they can be renewed.
    pub fn forget_access(&self) {
        self.state().access.clear();
    }

    /// The person takes back what they agreed to.
    pub fn take_back(&self) {
        let mut state = self.state();
        state.access.clear();
        state.refresh.clear();
    }

    /// How often tokens were asked for in this way.
    pub fn asked(&self, grant: &str) -> usize {
        let received = self.service.received();
        let is_one = |request: &&Request| {
            request.path == "/token" && form(request).get("grant_type").is_some_and(|g| g == grant)
        };
        received.iter().filter(is_one).count()
    }
}

impl State {
    fn new_secret(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-of-the-tests-{}-0123456789", self.made)
    }

    fn tokens(&mut self) -> Reply {
        let access = self.new_secret("access");
        self.access.insert(access.clone());
        let mut answer = json!({"access_token": access, "token_type": "Bearer", "expires_in": self.life});
        if !self.keeps_refresh {
            let refresh = self.new_secret("refresh");
            self.refresh.insert(refresh.clone());
            answer["refresh_token"] = refresh.into();
        }
        let json = ("content-type", "application/json");
        let head: Vec<_> = [Some(json), self.date.map(|date| ("date", date))].into_iter().flatten().collect();
        Reply::text(200, &head, answer.to_string())
    }

    fn token(&mut self, request: &Request) -> Reply {
        if !is_client(request) {
            return Reply::json(401, &json!({"error": "invalid_client"}));
        }
        let form = form(request);
        let said = |name: &str| form.get(name).cloned().unwrap_or_default();
        match said("grant_type").as_str() {
            "authorization_code" => {
                let Some(asked) = self.codes.remove(&said("code")).filter(|_| !self.codes_expire) else {
                    return no("invalid_grant");
                };
                let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(said("code_verifier")));
                match asked.redirect == said("redirect_uri") && asked.challenge == challenge {
                    true => self.tokens(),
                    false => no("invalid_grant"),
                }
            }
            "refresh_token" => {
                let refresh = said("refresh_token");
                if self.is_lenient && self.used.last() == Some(&refresh) {
                    return self.tokens();
                }
                if self.used.contains(&refresh) {
                    // Somebody else may have it.
                    self.access.clear();
                    self.refresh.clear();
                }
                if !self.refresh.remove(&refresh) {
                    return no("invalid_grant");
                }
                self.used.push(refresh);
                self.access.clear();
                self.tokens()
            }
            "urn:ietf:params:oauth:grant-type:device_code" => {
                let code = said("device_code");
                match self.devices.get(&code).copied() {
                    None => no("invalid_grant"),
                    Some(None) => no("authorization_pending"),
                    Some(Some(Err(why))) => no(why),
                    Some(Some(Ok(()))) => {
                        self.devices.remove(&code);
                        self.tokens()
                    }
                }
            }
            _ => no("unsupported_grant_type"),
        }
    }

    fn device(&mut self, request: &Request) -> Reply {
        if !is_client(request) || form(request).get("scope").is_none_or(|scope| scope != "read write") {
            return no("invalid_client");
        }
        let code = self.new_secret("device");
        self.devices.insert(code.clone(), None);
        let answer = json!({
            "device_code": code, "user_code": "WDJB-MJHT", "verification_uri": "https://music.example/device",
            "verification_uri_complete": "https://music.example/device?user_code=WDJB-MJHT", "expires_in": 1800, "interval": 1,
        });
        Reply::json(200, &answer)
    }

    fn revoke(&mut self, request: &Request) -> Reply {
        let token = form(request)["token"].clone();
        self.refresh.remove(&token);
        self.access.clear();
        self.revoked.push(token);
        Reply::text(200, &[], "")
    }

    fn serve(&mut self, request: &Request, answer: impl FnOnce(&mut Self) -> Value) -> Reply {
        let token = request.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        match self.access.contains(token) {
            true => Reply::json(200, &answer(self)),
            false => Reply::json(401, &json!({"error": "invalid_token"})),
        }
    }
}

fn no(error: &str) -> Reply {
    Reply::json(400, &json!({"error": error, "error_description": "As the standard has it"}))
}

/// Name and password are encoded before they are put together.
fn is_client(request: &Request) -> bool {
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let expected = STANDARD.encode(format!("{}:{}", encoded(CLIENT), encoded(SECRET)));
    request.header("authorization") == format!("Basic {expected}")
}

fn form(request: &Request) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

/// Somebody is asked.
#[track_caller]
pub fn begin(server: &Server) -> Value {
    // A folder with code is known when its Python is there.
    let is_known = || server.get(CONNECTION).text().contains("client_id").then_some(());
    until_within(Duration::from_secs(60), "the integration is loaded", is_known);
    let values = json!({"client_id": CLIENT, "client_secret": SECRET});
    server.post(&format!("{CONNECTION}/authorize"), values).expect(200)
}

/// Their browser comes back, without any key of ours.
#[track_caller]
pub fn come_back(server: &Server, address: &str) -> Answer {
    let url: url::Url = address.parse().unwrap();
    assert_eq!(url.path(), "/api/v1/oauth/callback");
    server.anonymous().get(&format!("{}?{}", url.path(), url.query().unwrap()))
}

pub fn connection(server: &Server) -> Value {
    server.get(CONNECTION).expect(200)
}

/// The link of the notice that somebody has to agree again.
#[track_caller]
pub fn link(server: &Server) -> String {
    let notice = server.notice("consent:music");
    let repair = notice["repair"].as_str().unwrap();
    let link = &repair[repair.find("http://").unwrap_or_else(|| panic!("no link: {notice:#}"))..];
    link.parse::<url::Url>().unwrap().path().to_owned()
}

/// What the button behind the link leads to.
pub fn go_on(server: &Server, link: &str) -> Answer {
    server.anonymous().call("POST", link, &[("content-type", "application/x-www-form-urlencoded")], "")
}

pub fn songs(server: &Server) -> Answer {
    server.post("/api/v1/tools/music_songs/call", json!({"arguments": {}}))
}
