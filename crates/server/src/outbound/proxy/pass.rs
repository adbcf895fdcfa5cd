//! Who may go through: a pass for each process, worth something while it runs.

use super::Hosts;
use crate::outbound::{HostPort, Scope};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, header::PROXY_AUTHORIZATION};
use rand::Rng;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

const USER: &str = "tercel";
/// Requests and tunnels that one process may have open.
const OPEN: usize = 64;

/// On whose behalf a process goes out, and where to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Permit {
    pub integration: String,
    /// What its manifest names.
    pub hosts: Hosts,
    /// Addresses that the operator gave: allowed, private or not.
    pub granted: Vec<HostPort>,
}

/// The right to go through. Dropped, it is worth nothing and all that goes on with it ends.
pub struct Pass {
    passes: Arc<Passes>,
    token: String,
    key: [u8; 32],
    address: SocketAddr,
}

impl Pass {
    /// The variables that make programs take the proxy, for the API too: with a closed network there is no other way.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let proxy = format!("http://{USER}:{}@{}", self.token, self.address);
        let mut variables: BTreeMap<String, String> =
            ["TERCEL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"]
                .map(|name| (name.into(), proxy.clone()))
                .into();
        variables.extend(["NO_PROXY", "no_proxy"].map(|name| (name.into(), String::new())));
        // From Node 24 on. Earlier ones load what makes them do so.
        variables.insert("NODE_USE_ENV_PROXY".into(), "1".into());
        variables
    }

    /// More that the operator gave. Who goes through keeps the pass.
    pub fn grant(&self, granted: Vec<HostPort>) {
        if let Some(known) = self.passes.known().get_mut(&self.key) {
            known.permit = Arc::new(Permit { granted, ..Permit::clone(&known.permit) });
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(known) = self.passes.known().remove(&self.key) {
            known.revoked.cancel();
        }
    }
}

#[derive(Default)]
pub struct Passes(Mutex<HashMap<[u8; 32], Known>>);

/// What a pass is worth.
#[derive(Clone)]
pub struct Known {
    pub permit: Arc<Permit>,
    pub revoked: CancellationToken,
    free: Arc<Semaphore>,
}

impl Known {
    /// A place for one request or tunnel.
    pub fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_owned().ok()
    }

    pub fn scope(&self) -> Scope {
        Scope {
            integration: Some(self.permit.integration.clone()),
            granted: self.permit.granted.clone(),
            ..Scope::default()
        }
    }
}

impl Passes {
    pub fn issue(self: &Arc<Self>, permit: Permit, address: SocketAddr) -> Pass {
        let token = hex::encode(rand::rng().random::<[u8; 32]>());
        let key = digest(&token);
        let known =
            Known { permit: Arc::new(permit), revoked: CancellationToken::new(), free: Arc::new(Semaphore::new(OPEN)) };
        self.known().insert(key, known);
        Pass { passes: self.clone(), token, key, address }
    }

    pub fn of(&self, headers: &HeaderMap) -> Option<Known> {
        let (scheme, said) = headers.get(PROXY_AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let said = String::from_utf8(BASE64_STANDARD.decode(said.trim()).ok()?).ok()?;
        let (_, token) = said.split_once(':')?;
        // Looked up by its digest: how long that takes says nothing about the token.
        self.known().get(&digest(token)).cloned()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}
