//! What all requests have in common: `http`.

use crate::{
    integration::field_of,
    manifest::{
        call::{Address, Auth, Failure, Meaning, Service},
        compile::Compiler,
        keys::{self, Per},
        template::Shape,
    },
};
use http::HeaderName;
use serde_saphyr::Location;
use std::time::Duration;
use tercel_sdk::rate::{Limiter, Rate};

/// All of a service but what the other parts still add to.
pub struct Half {
    base: Option<Address>,
    auth: Option<Auth>,
    headers: Vec<(HeaderName, Shape)>,
    rate: Option<Rate>,
    per: Per,
    timeout: Option<Duration>,
    failures: Vec<Failure>,
}

pub fn compile(c: &mut Compiler) -> Half {
    let http = &c.keys.http;
    let names = c.names();
    let answered = names.clone().answered();
    let at = http.auth.as_ref().map_or(Location::UNKNOWN, |auth| auth.at);
    let mut failures = Vec::new();
    for failure in &http.errors {
        let retry_after = c.maybe(failure.retry_after.as_ref(), &answered);
        let message =
            failure.message.as_ref().and_then(|message| c.text(message, &answered.clone().without("secrets")));
        failures.extend(c.expr(&failure.when, &answered).map(|when| Failure {
            when,
            retry_after,
            meaning: Meaning { kind: failure.code.into(), message, hint: failure.hint.clone() },
        }));
    }
    Half {
        base: c.base(),
        auth: http.auth.as_ref().and_then(|auth| self::auth(c, &auth.value)),
        headers: c.headers(&http.headers, &names, at),
        rate: http.rate,
        per: http.per,
        timeout: http.timeout.map(|span| span.0),
        failures,
    }
}

fn auth(c: &mut Compiler, auth: &keys::Auth) -> Option<Auth> {
    Some(match auth {
        keys::Auth::Bearer(field) => Auth::Bearer(c.secret(field)?),
        keys::Auth::Basic(basic) => {
            let password = match &basic.password {
                Some(password) => Some(c.secret(password)?),
                None => None,
            };
            Auth::Basic { user: c.named(&basic.user)?, password }
        }
        keys::Auth::Header(named) => Auth::Header {
            name: c.header(&named.name.value, named.name.at)?,
            prefix: named.prefix.clone(),
            secret: c.secret(&named.secret)?,
        },
        keys::Auth::Query(named) => Auth::Query {
            name: named.name.value.clone(),
            secret: c.secret(&named.secret)?,
            prefix: named.prefix.clone(),
        },
        keys::Auth::Oauth2(_) | keys::Auth::ServiceAccount(_) => Auth::Granted,
    })
}

impl Half {
    pub fn with(self, mut compiler: Compiler) -> Service {
        let hosts = compiler.granted();
        let Self { base, auth, headers, rate, per, timeout, failures } = self;
        let fields = compiler.keys.fields.iter().map(|field| field_of(compiler.id, &field.into())).collect();
        Service {
            engine: compiler.engine,
            fields,
            base,
            auth,
            headers,
            rate,
            per,
            turns: Limiter::default(),
            timeout,
            failures,
            hosts,
        }
    }
}
