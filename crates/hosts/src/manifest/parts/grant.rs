//! What tokens the server gets for the requests of a manifest.

use crate::manifest::{
    call::{Address, Shared},
    compile::Compiler,
    keys::{self, At},
    template::Shape,
};
use serde_json::Value;
use serde_saphyr::Location;
use std::sync::Arc;
use tercel_sdk::{
    Host, Result,
    grant::{Authenticates, Flow, Grant, Grants, OAuth},
};

pub enum Wanted {
    OAuth(Box<Asked>),
    ServiceAccount { key: String, scopes: Vec<String> },
}

pub struct Asked {
    flow: Flow,
    authorize: Option<Address>,
    token: Address,
    device: Option<Address>,
    revoke: Option<Address>,
    client_id: String,
    client_secret: Option<String>,
    send: Authenticates,
    scopes: Vec<String>,
    params: Vec<(String, Shape)>,
}

pub fn compile(c: &mut Compiler) -> Option<Wanted> {
    let At { value, at } = c.keys.http.auth.as_ref()?;
    match value {
        keys::Auth::Oauth2(oauth) => asked(c, oauth, *at).map(|asked| Wanted::OAuth(Box::new(asked))),
        keys::Auth::ServiceAccount(account) => {
            if account.scopes.is_empty() {
                c.wrong(account.key.at, "A service account needs `scopes`");
            }
            Some(Wanted::ServiceAccount { key: c.secret(&account.key)?, scopes: account.scopes.clone() })
        }
        _ => None,
    }
}

fn asked(c: &mut Compiler, oauth: &keys::Oauth2, at: Location) -> Option<Asked> {
    let names = c.names().without("secrets");
    let flow = match oauth.flow {
        keys::Flow::Code => Flow::Code,
        keys::Flow::Device => Flow::Device,
        keys::Flow::ClientCredentials => Flow::ClientCredentials,
    };
    if flow == Flow::Code && oauth.authorize.is_none() {
        c.wrong(at, "The flow `code` needs `authorize`: where a person agrees");
    }
    if flow == Flow::Device && oauth.device.is_none() {
        c.wrong(at, "The flow `device` needs `device`: where a device begins");
    }
    let secret = oauth.client.secret.as_ref();
    let send = match oauth.client.send {
        keys::Send::Basic => Authenticates::Basic,
        keys::Send::Form => Authenticates::Form,
        keys::Send::None => Authenticates::None,
    };
    if (send == Authenticates::None) != secret.is_none() {
        c.wrong(oauth.client.id.at, "A client without `secret` has `send: none`, and one with a secret has not");
    }
    let authorize = oauth.authorize.as_ref().and_then(|address| c.address(address, &names));
    let token = c.address(&oauth.token, &names);
    let device = oauth.device.as_ref().and_then(|address| c.address(address, &names));
    let revoke = oauth.revoke.as_ref().and_then(|address| c.address(address, &names));
    let params = c.entries(&oauth.params, &names);
    let client_secret = secret.and_then(|secret| c.secret(secret));
    Some(Asked {
        flow,
        authorize,
        token: token?,
        device,
        revoke,
        client_id: c.named(&oauth.client.id)?,
        client_secret,
        send,
        scopes: oauth.scopes.clone(),
        params,
    })
}

pub fn part(service: Shared, wanted: Wanted) -> Grants {
    let wanted = Arc::new(wanted);
    Arc::new(move |host| match &*wanted {
        Wanted::OAuth(asked) => asked.grant(&service, host).map(Grant::OAuth),
        Wanted::ServiceAccount { key, scopes } => {
            Ok(Grant::ServiceAccount { key: key.clone(), scopes: scopes.clone() })
        }
    })
}

impl Asked {
    fn grant(&self, service: &Shared, host: &Host) -> Result<OAuth> {
        let (scope, vault) = (service.scope(host), service.vault(host));
        let address =
            |address: &Address| -> Result<String> { Ok(service.address(host, address, &scope, &vault)?.into()) };
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let params = service.engine.fill_map(&self.params, &scope)?;
        Ok(OAuth {
            flow: self.flow,
            authorize: self.authorize.as_ref().map(address).transpose()?,
            token: address(&self.token)?,
            device: self.device.as_ref().map(address).transpose()?,
            revoke: self.revoke.as_ref().map(address).transpose()?,
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.clone(),
            send: self.send,
            scopes: self.scopes.clone(),
            params: params.into_iter().map(|(name, value)| (name, text(value))).collect(),
        })
    }
}
