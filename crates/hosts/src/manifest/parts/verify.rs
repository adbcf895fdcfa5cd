//! How a webhook proves that it is the service's own: exactly one way.

use crate::manifest::{
    compile::Compiler,
    keys::{self, Verify as Way},
};
use ipnet::IpNet;
use std::{net::IpAddr, sync::Arc};
use tercel_sdk::{
    Error, Host, Inbound, Kind, Refusal, Result, Scheme, Signed, Verify,
    signature::{Algorithm, Encoding, NAMED, Recipe},
};

/// A scheme out of the connection's secrets.
type Make = Arc<dyn Fn(&Host) -> Result<Scheme> + Send + Sync>;

#[derive(Clone)]
pub struct Check {
    proof: Proof,
    /// Networks that requests may come from; any when there are none.
    from: Vec<IpNet>,
    /// Whether the proof covers the body, so that an id in it cannot be changed.
    pub covers: Covers,
}

/// What of a request its proof covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covers {
    /// All: whoever has the secret made the request.
    Everything,
    /// The body, and none of the headers.
    Body,
}

#[derive(Clone)]
enum Proof {
    By(Make),
    /// Nobody checks, and why.
    Nobody(String),
}

pub fn compile(c: &mut Compiler) -> Option<Check> {
    let webhook = c.keys.webhook.as_ref()?;
    let mut from = Vec::new();
    for network in &webhook.from {
        let parsed = network.value.parse::<IpNet>().or_else(|_| network.value.parse::<IpAddr>().map(IpNet::from));
        match parsed {
            Ok(network) => from.push(network),
            Err(_) => c.wrong(network.at, format!("`{}` is no network such as 10.0.0.0/8", network.value)),
        }
    }
    let at = webhook.verify.at;
    let covers_headers = match &webhook.verify.value {
        Way::Named(name, _) => Scheme::named(name, "").is_some_and(|scheme| scheme.covers_headers()),
        Way::Hmac(_) | Way::Chosen(_) => false,
        Way::Basic(_) | Way::Header(_) | Way::None(_) => true,
    };
    let covers = if covers_headers { Covers::Everything } else { Covers::Body };
    let proof = match &webhook.verify.value {
        Way::Named(name, field) => {
            let (name, field) = (*name, c.secret(field)?);
            let unknown = || Error::new(Kind::Unsupported, "This scheme is not known");
            by(move |host| Scheme::named(name, host.field(&field)?).ok_or_else(unknown))
        }
        Way::Basic(basic) => {
            let (user, password) = (c.named(&basic.user)?, c.secret(&basic.password)?);
            by(move |host| Ok(Scheme::basic(host.field(&user)?, host.field(&password)?)))
        }
        Way::Header(header) => {
            let (name, secret) = (c.header(&header.name.value, header.name.at)?, c.secret(&header.secret)?);
            by(move |host| Ok(Scheme::token(name.as_str(), host.field(&secret)?)))
        }
        Way::Hmac(hmac) => {
            let secret = c.secret(&hmac.secret)?;
            c.header(&hmac.header.value, hmac.header.at)?;
            let recipe = recipe(hmac);
            if let Err(error) = Scheme::hmac("", recipe.clone()) {
                c.wrong(at, error.message);
                return None;
            }
            by(move |host| Scheme::hmac(host.field(&secret)?, recipe.clone()))
        }
        Way::Chosen(chosen) => {
            let (scheme, secret) = (c.named(&chosen.scheme)?, c.secret(&chosen.secret)?);
            let options = c.field(&scheme).map(|field| field.options.as_slice()).unwrap_or_default();
            let known = NAMED.join(", ");
            if options.is_empty() {
                c.wrong(chosen.scheme.at, format!("`{scheme}` needs `options`, which can be {known}"));
            }
            for option in options.iter().filter(|option| !NAMED.contains(&option.as_str())) {
                c.wrong(chosen.scheme.at, format!("`{option}` is no scheme: there are {known}"));
            }
            let unknown = || Error::new(Kind::Unsupported, "This scheme is not known");
            by(move |host| Scheme::named(host.field(&scheme)?, host.field(&secret)?).ok_or_else(unknown))
        }
        Way::None(reason) => {
            if reason.trim().is_empty() {
                c.wrong(at, "`none` needs the reason why nobody can check: it is shown on the card");
            }
            if from.is_empty() {
                c.wrong(at, "Without a proof, `from` says which networks requests may come from: `from: [10.0.0.0/8]`");
            }
            Proof::Nobody(reason.clone())
        }
    };
    Some(Check { proof, from, covers })
}

fn by(make: impl Fn(&Host) -> Result<Scheme> + Send + Sync + 'static) -> Proof {
    Proof::By(Arc::new(make))
}

fn recipe(hmac: &keys::Hmac) -> Recipe {
    Recipe {
        header: hmac.header.value.to_lowercase(),
        prefix: hmac.prefix.clone(),
        algorithm: match hmac.algorithm {
            keys::Algorithm::Sha256 => Algorithm::Sha256,
            keys::Algorithm::Sha512 => Algorithm::Sha512,
        },
        encoding: match hmac.encoding {
            keys::Encoding::Hex => Encoding::Hex,
            keys::Encoding::Base64 => Encoding::Base64,
        },
        signs: signed(&hmac.signs),
        timestamp: hmac.timestamp.as_ref().map(|header| header.value.clone()),
        max_age: hmac.max_age.map(|span| span.0),
    }
}

/// `{{ raw }}` is the body.
fn signed(template: &str) -> String {
    let template = template.replace("{{ raw }}", "{body}").replace("{{raw}}", "{body}");
    template.replace("{{ timestamp }}", "{timestamp}").replace("{{timestamp}}", "{timestamp}")
}

impl Check {
    pub fn unchecked(&self) -> Option<String> {
        match &self.proof {
            Proof::By(_) => None,
            Proof::Nobody(reason) => Some(reason.clone()),
        }
    }

    /// For deliveries that code is given.
    pub fn for_code(&self) -> Option<Verify> {
        match &self.proof {
            Proof::By(make) => Some(make.clone()),
            Proof::Nobody(_) => None,
        }
    }

    /// # Errors
    /// Why the request is not taken.
    pub fn read(&self, host: &Host, request: Inbound) -> Result<Signed, Refusal> {
        if !self.from.is_empty() && !request.came_from(|address| self.from.iter().any(|from| from.contains(&address))) {
            return Err(Refusal::signature("Requests may not come from this address"));
        }
        match &self.proof {
            Proof::By(make) => request.signed(&make(host)?),
            Proof::Nobody(reason) => Ok(request.unsigned(reason.clone())),
        }
    }
}
