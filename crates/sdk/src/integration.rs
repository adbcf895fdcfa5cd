//! An integration is a value made of parts.

use crate::{
    Dispatcher, Field, FromHost, Handler, Host, Inbound, Received, Refusal, Result, Skill, Tool,
    erased::erase,
    grant::Grants,
    hook::{Hook, HookEvent},
    inbound::Webhook,
    poll::{Cursor, Gap, Missed, Poll, Polled},
    process::Process,
    routes::Routes,
    sync,
    tool::Unnamed,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

/// How much a connection test proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// The fields have values.
    Presence,
    /// The service knows the credentials.
    Auth,
    /// What the connection is for exists there and may be used.
    Target,
    Write,
}

/// A connection test that passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub depth: Depth,
    /// Who the credentials belong to, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The same as nobody else at the service can be called, now or later. By it whoever agrees again to what the
    /// connection does is told from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    pub message: String,
}

/// What the service did when it was asked to revoke credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Revoked {
    /// They are worth nothing any more.
    Done,
    /// It has no way to revoke such ones; where a person does it.
    Impossible(String),
}

/// A webhook request as the service sends it, for rehearsals and tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// File name without its ending: `pull_request.opened`.
    #[serde(default)]
    pub name: String,
    /// Without the signature: whoever sends it signs it.
    pub headers: BTreeMap<String, String>,
    pub body: Value,
    /// How it is signed, where nothing but code knows: as `verify` of a manifest, with names of variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign: Option<Value>,
}

/// One recorded answer of the service's API, by which a rehearsal answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// Recorded for anything but a read, it is answered with, and nothing is sent all the same.
    #[serde(default = "get", skip_serializing_if = "is_get")]
    pub method: String,
    /// Path and query, without the host: `/repos/octo/hello/pulls/1`.
    pub path: String,
    /// What the request's `accept` header must contain, when the answer depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
    #[serde(default = "ok")]
    pub status: u16,
    /// A string is sent as it is, anything else as JSON.
    pub body: Value,
}

fn get() -> String {
    "GET".into()
}

fn is_get(method: &String) -> bool {
    method == "GET"
}

fn ok() -> u16 {
    200
}

/// One outside service, connected.
#[derive(Clone)]
pub struct Integration {
    /// `^[a-z][a-z0-9_]{0,63}$`; the folder's name, the dispatch type, the prefix of client ids.
    pub name: String,
    pub version: String,
    pub label: String,
    pub description: String,
    /// Name of a lucide icon.
    pub icon: String,
    pub tier: String,
    /// Tiers that single actions need, by feature: `forge_sync`.
    pub features: BTreeMap<String, String>,
    pub fields: Vec<Field>,
    pub webhook: Option<Webhook>,
    /// HTTP in, HTTP out: what code answers itself. One with a webhook of its own has no `webhook` part beside it.
    pub routes: Option<Routes>,
    /// By dispatch type, which is the integration's name unless code says otherwise.
    pub dispatchers: BTreeMap<String, Dispatcher>,
    pub connector: Option<Handler>,
    /// What tokens its requests need that the server gets.
    pub grant: Option<Grants>,
    /// Makes the credentials of a connection worthless at the service. Out comes a [`Revoked`].
    pub revoke: Option<Handler>,
    pub sync: Option<sync::Part>,
    pub polls: Vec<Poll>,
    pub missed: Option<Handler>,
    pub tools: Vec<Tool>,
    pub hooks: Vec<Hook>,
    pub skills: Vec<Skill>,
    pub readme: String,
    pub samples: Vec<Sample>,
    pub exchanges: Vec<Exchange>,
    /// [`User`] in, with the dispatch type as the kind of the call's target; out come the fields that the dispatcher finds as `user_attribution` in its target.
    pub user_attribution: Option<Handler>,
    /// Names for client ids: a list of them in, an object from client id to name out.
    pub display_names: Option<Handler>,
    /// What it needs to know of a person or a bot: fields of their `integration_config`.
    pub identity_fields: Vec<Value>,
    /// Where a place is answered that nobody gave a target: its client id in, a [`crate::Target`] or null out.
    pub place_target: Option<Handler>,
    /// Client ids that begin like this are this integration's: `<name>:` and what code declares.
    pub prefixes: Vec<String>,
    pub process: Option<Process>,
    pub sidebar_section: Option<Value>,
    pub dashboard_modules: Vec<Value>,
    pub activation: Option<Value>,
}

/// Somebody who types at the server itself, as far as is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct User {
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
    /// What this integration keeps about the person.
    pub integration_config: Value,
}

impl Integration {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            version: "0.0.0".into(),
            label: name.into(),
            description: String::new(),
            icon: "Plug".into(),
            tier: "free".into(),
            features: BTreeMap::new(),
            fields: Vec::new(),
            webhook: None,
            routes: None,
            dispatchers: BTreeMap::new(),
            connector: None,
            grant: None,
            revoke: None,
            sync: None,
            polls: Vec::new(),
            missed: None,
            tools: Vec::new(),
            hooks: Vec::new(),
            skills: Vec::new(),
            readme: String::new(),
            samples: Vec::new(),
            exchanges: Vec::new(),
            user_attribution: None,
            display_names: None,
            identity_fields: Vec::new(),
            place_target: None,
            prefixes: vec![format!("{name}:")],
            process: None,
            sidebar_section: None,
            dashboard_modules: Vec::new(),
            activation: None,
        }
    }

    pub fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    pub fn label(mut self, label: &str) -> Self {
        self.label = label.into();
        self
    }

    pub fn description(mut self, text: &str) -> Self {
        self.description = text.into();
        self
    }

    pub fn icon(mut self, name: &str) -> Self {
        self.icon = name.into();
        self
    }

    /// A field with the environment name `<NAME>_<KEY>`.
    pub fn field(mut self, mut field: Field) -> Self {
        field.env = format!("{}_{}", self.name, field.key).to_uppercase();
        self.fields.push(field);
        self
    }

    /// Verifies and reads what comes to `/integrations/<name>/webhook`.
    pub fn webhook<H, F>(mut self, receive: F) -> Self
    where
        H: FromHost,
        F: Fn(H, Inbound) -> Result<Received, Refusal> + Send + Sync + 'static,
    {
        self.webhook = Some(Webhook::new(receive));
        self
    }

    /// Sends answers of the dispatch type `<name>`.
    pub fn dispatcher(mut self, dispatcher: Dispatcher) -> Self {
        self.dispatchers.insert(self.name.clone(), dispatcher);
        self
    }

    /// An honest test of the connection.
    pub fn connector<H, F, Fut>(mut self, check: F) -> Self
    where
        H: FromHost,
        F: Fn(H) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Checked>> + Send + 'static,
    {
        self.connector = Some(erase(move |host: H, _: Value| check(host)));
        self
    }

    /// Called when the connection is disconnected, before its values are forgotten.
    pub fn revoke<H, F, Fut>(mut self, revoke: F) -> Self
    where
        H: FromHost,
        F: Fn(H) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Revoked>> + Send + 'static,
    {
        self.revoke = Some(erase(move |host: H, _: Value| revoke(host)));
        self
    }

    /// Pushes records to the service: `.sync(syncs("jobs", push).find(find))`.
    pub fn sync(mut self, part: sync::Part) -> Self {
        self.sync = Some(part);
        self
    }

    /// The tier that the whole of it needs: `free`, `paid` or `premium`.
    pub fn tier(mut self, tier: &str) -> Self {
        self.tier = tier.into();
        self
    }

    /// A single action that needs a tier of its own. `<name>_sync` is asked for before records are pushed.
    pub fn feature(mut self, feature: &str, tier: &str) -> Self {
        self.features.insert(feature.into(), tier.into());
        self
    }

    /// Asks the service what is new, again and again, for where no webhook reaches. `not_configured` means off: it is
    /// asked again once a setting was changed.
    pub fn poll<H, F, Fut>(mut self, name: &str, every: Duration, poll: F) -> Self
    where
        H: FromHost,
        F: Fn(H, Cursor) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Polled>> + Send + 'static,
    {
        self.polls.push(Poll::new(name, every, poll));
        self
    }

    /// Fetches what the service sent, or has it sent again, while the server was down.
    pub fn missed<H, F, Fut>(mut self, fetch: F) -> Self
    where
        H: FromHost,
        F: Fn(H, Gap) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Missed>> + Send + 'static,
    {
        self.missed = Some(erase(fetch));
        self
    }

    /// A tool: `.tool("forge_get_pr", reads(tools::get_pr))`.
    pub fn tool(mut self, name: &str, tool: Unnamed) -> Self {
        self.tools.push(tool.named(name));
        self
    }

    /// A hook; the event's type says which.
    pub fn on<H, E, F, Fut>(mut self, hook: F) -> Self
    where
        H: FromHost,
        E: HookEvent,
        F: Fn(H, E) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<E::Answer>> + Send + 'static,
    {
        self.hooks.push(Hook::new(hook));
        self
    }

    /// What a dispatcher needs to post a message under the name of who typed it. Without this the name is put into the text.
    pub fn user_attribution(mut self, attribute: impl Fn(&User) -> Map<String, Value> + Send + Sync + 'static) -> Self {
        let attribute = Arc::new(attribute);
        self.user_attribution = Some(erase(move |_: Host, user: User| {
            let attribute = attribute.clone();
            async move { Ok(attribute(&user)) }
        }));
        self
    }

    /// A skill document with the id `integrations/<name>/<stem>`.
    ///
    /// # Panics
    /// When the front matter is not YAML: the text is part of the program.
    pub fn skill(mut self, stem: &str, text: &str) -> Self {
        self.skills.push(Skill::parse(&self.name, stem, text).expect("a shipped skill has a valid front matter"));
        self
    }

    pub fn readme(mut self, text: &str) -> Self {
        self.readme = text.into();
        self
    }

    /// A webhook request as the service sends it: `fixtures/<name>.json`.
    ///
    /// # Panics
    /// When the text is not a [`Sample`]: it is part of the program.
    pub fn sample(mut self, name: &str, text: &str) -> Self {
        let sample: Sample = serde_json::from_str(text).expect("a shipped sample is valid JSON");
        self.samples.push(Sample { name: name.into(), ..sample });
        self
    }

    /// Recorded reads, a JSON list of [`Exchange`].
    ///
    /// # Panics
    /// When the text is not such a list: it is part of the program.
    pub fn exchanges(mut self, text: &str) -> Self {
        let list: Vec<Exchange> = serde_json::from_str(text).expect("shipped exchanges are valid JSON");
        self.exchanges.extend(list);
        self
    }
}
