//! Who calls, and what for. A key can do exactly its scopes.

use super::{
    error::{Error, Result},
    rate::{self, Rates},
};
use crate::{app::App, config::Config, folders::Folder, succession};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};
use subtle::ConstantTimeEq;
use tercel_store::{Store, Uuid};

pub const ADMIN: &str = "admin";
/// Instead of a scope: every key will do.
pub const ANY: &str = "*";
/// What an answer may take, unless it is a stream.
const LIMIT: Duration = Duration::from_secs(30);

/// Keys and rates, for all entrances of one server.
#[derive(Default)]
pub struct Access {
    keys: RwLock<HashMap<[u8; 32], Arc<Identity>>>,
    /// Keys of the processes of folders. They are nowhere else, and die with their process or with this one.
    lent: RwLock<HashMap<[u8; 32], Arc<Identity>>>,
    /// One reading at a time: an older one must not replace a newer one.
    reading: tokio::sync::Mutex<()>,
    rates: Rates,
    /// Of requests that need no key: what they bear is often for somebody else, and is counted apart.
    strange: Rates,
}

/// On whose behalf a request is.
#[derive(Debug)]
pub struct Identity {
    /// Absent for the bootstrap key and the operator on this machine.
    pub id: Option<Uuid>,
    pub scopes: Scopes,
    /// The folder that it acts as, and nothing more.
    pub folder: Option<Folder>,
}

impl Identity {
    fn operator() -> Self {
        Self { id: None, scopes: Scopes::from(ADMIN), folder: None }
    }

    /// Keeps what one key calls apart from what others call.
    pub fn idempotency(&self, call: &str, key: &str) -> String {
        let who = self.id.map_or_else(|| "bootstrap".to_owned(), |id| id.to_string());
        format!("idempotency/{who}/{call}/{key}")
    }
}

/// `<resource>:<read|write>`, or `admin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(BTreeSet<String>);

impl From<&str> for Scopes {
    fn from(text: &str) -> Self {
        Self(text.split_whitespace().map(str::to_owned).collect())
    }
}

impl std::fmt::Display for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join(" "))
    }
}

impl Scopes {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Write implies read, `admin` all.
    pub fn allow(&self, needed: &str) -> bool {
        let write =
            || needed.strip_suffix(":read").is_some_and(|resource| self.0.contains(&format!("{resource}:write")));
        self.0.contains(ADMIN) || self.0.contains(needed) || write()
    }
}

impl Access {
    /// Reads the keys anew. What was committed before the call counts when it returns.
    pub async fn read(&self, store: &Store) -> tercel_store::Result<()> {
        let _one = self.reading.lock().await;
        let mut keys = HashMap::new();
        for key in store.keys().await?.into_iter().filter(|key| key.revoked_at.is_none()) {
            let scopes = Scopes::from(key.scopes.as_str());
            let identity = Identity { id: Some(key.id), scopes, folder: None };
            if let Ok(hash) = key.hash.try_into() {
                keys.insert(hash, Arc::new(identity));
            }
        }
        *self.keys.write().expect("no holder of this lock panics") = keys;
        Ok(())
    }

    fn find(&self, hash: &[u8; 32]) -> Option<Arc<Identity>> {
        let of = |keys: &RwLock<HashMap<[u8; 32], Arc<Identity>>>| {
            keys.read().expect("no holder of this lock panics").get(hash).cloned()
        };
        of(&self.keys).or_else(|| of(&self.lent))
    }

    /// Lets a key in for as long as the process of a folder lives.
    pub fn lend(&self, id: Uuid, key: &str, folder: Folder, scopes: Scopes) {
        let identity = Identity { id: Some(id), scopes, folder: Some(folder) };
        let mut lent = self.lent.write().expect("no holder of this lock panics");
        lent.insert(Sha256::digest(key).into(), Arc::new(identity));
    }

    pub fn take_back(&self, id: Uuid) {
        self.lent.write().expect("no holder of this lock panics").retain(|_, identity| identity.id != Some(id));
    }

    /// On whose behalf a request is that needs no key, when it has one of ours all the same.
    pub fn known(&self, config: &Config, request: &http::Extensions, headers: &HeaderMap) -> Option<Arc<Identity>> {
        if request.get::<Operator>().is_some() {
            return Some(Arc::new(Identity::operator()));
        }
        let hash: [u8; 32] = Sha256::digest(bearer(headers)?).into();
        if let Some(identity) = self.find(&hash) {
            return Some(identity);
        }
        let (time, source) = (Instant::now(), source(config, request, headers));
        // Whoever tries many must not learn here which of them is the bootstrap key.
        if source.is_some_and(|source| self.strange.is_guessing(source, time).is_some()) {
            return None;
        }
        if is_bootstrap(config, &hash) {
            return Some(Arc::new(Identity::operator()));
        }
        if let Some(source) = source {
            self.strange.note_guess(source, time);
        }
        None
    }
}

/// Set on requests by the socket in the data directory: whoever can open it is the operator.
#[derive(Debug, Clone, Copy)]
pub struct Operator;

/// What stands before a route.
#[derive(Clone)]
pub struct Gate {
    pub app: Arc<App>,
    pub scope: Option<&'static str>,
    /// Keys of folders are let in: the handler decides what they may do.
    pub folders: bool,
    /// It may take as long as it likes.
    pub streams: bool,
    /// It says how this process is, whoever has the database.
    pub looks_only: bool,
}

pub async fn guard(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if !gate.looks_only
        && let Some(obstacle) = succession::obstacle(&gate.app)
    {
        return Error::unavailable(obstacle).into_response();
    }
    if let Some(scope) = gate.scope {
        match admit(&gate, scope, &request) {
            Ok(identity) => request.extensions_mut().insert(identity),
            Err(error) => return error.into_response(),
        };
    }
    if gate.streams {
        return next.run(request).await;
    }
    match tokio::time::timeout(LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Error::timeout(LIMIT.as_secs()).into_response(),
    }
}

pub fn admit(gate: &Gate, scope: &str, request: &Request) -> Result<Arc<Identity>> {
    if request.extensions().get::<Operator>().is_some() {
        return Ok(Arc::new(Identity::operator()));
    }
    let (app, time) = (&gate.app, Instant::now());
    let rates = &app.access.rates;
    let identity = identify(app, request, time)?;
    if let Err(seconds) = rates.spend(identity.id, app.config.capacity.rate, time) {
        return Err(Error::rate_limited("This key calls too often; TERCEL_RATE says how often it may", seconds));
    }
    if scope != ANY && !identity.scopes.allow(scope) {
        return Err(Error::missing_scope(scope));
    }
    if let Some(folder) = &identity.folder {
        if !gate.folders {
            return Err(Error::forbidden(
                "The key of a folder cannot do this: it acts as its integration and nothing more",
            ));
        }
        if scope != ANY && !folder.scopes(&app.catalog()).allow(scope) {
            return Err(Error::missing_scope(scope));
        }
    }
    Ok(identity)
}

fn identify(app: &App, request: &Request, time: Instant) -> Result<Arc<Identity>> {
    let Some(key) = bearer(request.headers()) else {
        return Err(Error::unauthorized("A key is needed: send `Authorization: Bearer <key>`"));
    };
    let hash: [u8; 32] = Sha256::digest(key).into();
    // Our own keys have 256 random bits: nobody guesses one, so that they are let in even from where somebody guesses.
    if let Some(identity) = app.access.find(&hash) {
        return Ok(identity);
    }
    let source = source(&app.config, request.extensions(), request.headers());
    if let Some(seconds) = source.and_then(|source| app.access.rates.is_guessing(source, time)) {
        return Err(Error::rate_limited("Too many wrong keys came from this address", seconds));
    }
    if is_bootstrap(&app.config, &hash) {
        return Ok(Arc::new(Identity::operator()));
    }
    metrics::counter!("tercel_authentications_failed_total").increment(1);
    if let Some(source) = source {
        app.access.rates.note_guess(source, time);
    }
    Err(Error::unauthorized("This key is not known, or was revoked"))
}

/// Where a request comes from, if guesses are counted.
fn source(config: &Config, request: &http::Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    rate::source(config, request, headers).filter(|_| config.capacity.rate > 0)
}

fn is_bootstrap(config: &Config, hash: &[u8; 32]) -> bool {
    config.api_key.as_ref().is_some_and(|key| {
        let bootstrap: [u8; 32] = Sha256::digest(key.expose_secret()).into();
        bool::from(bootstrap.ct_eq(hash))
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") && !key.trim().is_empty()).then(|| key.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use axum::extract::ConnectInfo;
    use std::net::SocketAddr;

    #[test]
    fn write_implies_read_and_admin_implies_all() {
        let may = |scopes: &str, needed| Scopes::from(scopes).allow(needed);
        assert!(may("tasks:read", "tasks:read") && may("tasks:write", "tasks:read") && may("admin", "keys:write"));
        assert!(!may("tasks:read", "tasks:write") && !may("tasks:write", "sessions:read") && !may("", "tasks:read"));
        assert!(!may("tasks:write", ADMIN) && may("a:read tasks:write", "tasks:write"));
    }

    #[test]
    fn who_tries_many_keys_where_none_is_needed_does_not_learn_which_is_right() {
        let mut environment = Environment::default();
        environment.set("API_KEY", "right");
        let (config, access) = (Config::from(environment).unwrap(), Access::default());
        let is_known = |from: u8, key: &str| {
            let mut request = http::Extensions::new();
            request.insert(ConnectInfo(SocketAddr::from(([192, 0, 2, from], 1))));
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, format!("Bearer {key}").parse().unwrap());
            access.known(&config, &request, &headers).is_some()
        };
        assert!(is_known(1, "right"));
        for n in 0..40 {
            assert!(!is_known(1, &format!("wrong-{n}")));
        }
        assert!(!is_known(1, "right"));
        assert!(is_known(2, "right"), "others are not kept from anything");
    }
}
