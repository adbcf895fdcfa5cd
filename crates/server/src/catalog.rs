//! What the server knows right now: integrations, settings, bots, channels. A snapshot, replaced as a whole.

mod entry;
mod values;

pub use entry::Entry;
pub use values::{Source, Values, place};

use crate::{
    bot::Bot,
    channel::{Binding, Channel},
    config::{Environment, OWN_SECRETS},
    folders::Listed,
    redact::Redactor,
};
use anyhow::Result;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tercel_sdk::{Dispatcher, Skill, Tool};
use tercel_store::{Sealer, Setting, Store};

pub const DEFAULT: &str = "default";

/// A tool and the integration that it belongs to.
#[derive(Clone)]
pub struct OwnedTool {
    pub integration: String,
    pub tool: Tool,
}

/// A dispatcher and the integration that it belongs to.
#[derive(Clone)]
pub struct OwnedDispatcher {
    pub integration: String,
    pub dispatcher: Dispatcher,
}

pub struct Catalog {
    pub integrations: BTreeMap<String, Arc<Entry>>,
    pub tools: BTreeMap<String, OwnedTool>,
    /// By dispatch type.
    pub dispatchers: BTreeMap<String, OwnedDispatcher>,
    /// Dispatch types of integrations that cannot be used now, with those integrations: what leaves by them waits.
    pub absent: BTreeMap<String, String>,
    /// What client ids begin with, and whose they are then.
    pub prefixes: BTreeMap<String, String>,
    pub skills: BTreeMap<String, Skill>,
    pub bots: BTreeMap<String, Arc<Bot>>,
    pub channels: HashMap<String, Arc<Channel>>,
    /// By the client_id they are bound to.
    pub bindings: HashMap<String, Vec<Arc<Binding>>>,
    /// Knows the secrets of this snapshot.
    pub redactor: Redactor,
}

impl Catalog {
    /// Reads everything anew.
    pub async fn load(list: &[Arc<Listed>], store: &Store, sealer: &Sealer, env: &Environment) -> Result<Self> {
        let settings = store.settings().await?;
        let healths = store.healths().await?;
        let mut catalog = Self {
            integrations: BTreeMap::new(),
            tools: BTreeMap::new(),
            dispatchers: BTreeMap::new(),
            absent: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            skills: BTreeMap::new(),
            bots: BTreeMap::new(),
            channels: HashMap::new(),
            bindings: HashMap::new(),
            redactor: Redactor::default(),
        };
        for listed in list {
            let integration = &listed.usable();
            let name = &integration.name;
            let mut stored: BTreeMap<&str, BTreeMap<&str, &Setting>> = BTreeMap::from([(DEFAULT, BTreeMap::new())]);
            for health in healths.iter().filter(|health| &health.integration == name) {
                stored.entry(&health.connection).or_default();
            }
            for setting in settings.iter().filter(|setting| &setting.integration == name) {
                stored.entry(&setting.connection).or_default().insert(&setting.key, setting);
            }
            let connections = stored
                .into_iter()
                .map(|(connection, stored)| {
                    // What bots wrote is given nothing of the operator's environment.
                    let env = Some(env).filter(|_| connection == DEFAULT && !listed.is_of_workspace());
                    let values = values::resolve(name, connection, &integration.fields, &stored, env, sealer);
                    (connection.to_owned(), values)
                })
                .collect();
            let mut error = listed.problem();
            for tool in &integration.tools {
                match catalog.tools.get(&tool.name) {
                    Some(taken) => {
                        error = Some(format!("The tool name `{}` is taken by `{}`", tool.name, taken.integration))
                    }
                    None => {
                        let owned = OwnedTool { integration: name.clone(), tool: tool.clone() };
                        catalog.tools.insert(tool.name.clone(), owned);
                    }
                }
            }
            for prefix in &integration.prefixes {
                error = catalog.claim_prefix(prefix, name).or(error);
            }
            for (kind, dispatcher) in &integration.dispatchers {
                match catalog.dispatchers.get(kind) {
                    Some(taken) => {
                        error = Some(format!("The dispatch type `{kind}` is taken by `{}`", taken.integration))
                    }
                    None => {
                        let owned = OwnedDispatcher { integration: name.clone(), dispatcher: dispatcher.clone() };
                        catalog.dispatchers.insert(kind.clone(), owned);
                    }
                }
            }
            catalog.skills.extend(integration.skills.iter().map(|skill| (skill.id.clone(), skill.clone())));
            let entry = Entry {
                names: Arc::new(integration.fields.iter().map(|f| (f.key.clone(), f.env.clone())).collect()),
                exchanges: integration.exchanges.clone().into(),
                connections,
                healths: healths
                    .iter()
                    .filter(|health| &health.integration == name)
                    .map(|health| (health.connection.clone(), health.clone()))
                    .collect(),
                error,
                integration: integration.clone(),
                listed: listed.clone(),
            };
            catalog.integrations.insert(name.clone(), Arc::new(entry));
        }
        for listed in list.iter().filter(|listed| !listed.works()) {
            for kind in &listed.dispatch_types {
                if !catalog.dispatchers.contains_key(kind) {
                    catalog.absent.insert(kind.clone(), listed.integration.name.clone());
                }
            }
        }
        for row in store.bots().await? {
            // One that cannot be read must not keep the others from working: its runs fail and say that it is not there.
            match Bot::from_definition(&row.id, &row.definition) {
                Ok(bot) => _ = catalog.bots.insert(row.id, Arc::new(bot)),
                Err(error) => tracing::error!("Bot `{}` is left out until it is written anew: {error:#}", row.id),
            }
        }
        catalog.bots.entry(DEFAULT.into()).or_insert_with(|| Arc::new(Bot::default_bot()));
        for row in store.channels().await? {
            match Channel::from_row(row) {
                Ok(channel) => _ = catalog.channels.insert(channel.client_id.clone(), Arc::new(channel)),
                Err(error) => tracing::error!("A channel is left out until it is deleted and made anew: {error:#}"),
            }
        }
        for row in store.bindings().await? {
            match Binding::from_row(row) {
                Ok(binding) => catalog.bindings.entry(binding.client_id.clone()).or_default().push(Arc::new(binding)),
                Err(error) => tracing::error!("A binding is left out until it is removed and made anew: {error:#}"),
            }
        }
        let own = OWN_SECRETS.iter().filter_map(|name| env.get(name)).map(str::to_owned);
        let own = own.chain(crate::providers::keys(store, sealer).await?);
        let own = own.chain(crate::emission::secrets(store, sealer).await?);
        catalog.redactor = Redactor::of(own, catalog.integrations.values());
        Ok(catalog)
    }

    /// Whose a place is, by what its client id begins with.
    pub fn owner(&self, client_id: &str) -> Option<&str> {
        let fitting = self.prefixes.iter().filter(|(prefix, _)| client_id.starts_with(prefix.as_str()));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, owner)| owner.as_str())
    }

    /// What stands in the way of an integration that wants all client ids with a prefix.
    fn claim_prefix(&mut self, prefix: &str, name: &str) -> Option<String> {
        let overlap = |other: &str| other.starts_with(prefix) || prefix.starts_with(other);
        let taken = self.prefixes.iter().find(|(other, owner)| owner.as_str() != name && overlap(other));
        match taken {
            _ if prefix.trim().is_empty() => Some("An empty prefix would make every client id its own".into()),
            Some((other, owner)) => {
                Some(format!("Client ids that begin with `{prefix}` are not its own: `{owner}` has `{other}`"))
            }
            None => {
                self.prefixes.insert(prefix.into(), name.into());
                None
            }
        }
    }

    /// What sends answers of this dispatch type, if it is none of the core's.
    pub fn dispatcher(&self, kind: &str) -> Option<&Dispatcher> {
        self.dispatchers.get(kind).map(|owned| &owned.dispatcher)
    }

    /// Why there is no such tool, when one would be there if its integration could be used.
    pub fn obstacle_of_tool(&self, name: &str) -> Option<(&Entry, String)> {
        let has = |entry: &&Arc<Entry>| entry.listed.integration.tools.iter().any(|tool| tool.name == name);
        let entry = self.integrations.values().find(has)?;
        Some((entry, entry.listed.obstacle()?))
    }

    pub fn channel(&self, id: tercel_store::Uuid) -> Option<&Arc<Channel>> {
        self.channels.values().find(|channel| channel.id == id)
    }

    /// The places that a channel is bound to, in the order in which they were.
    pub fn bindings_of(&self, channel: tercel_store::Uuid) -> Vec<&Arc<Binding>> {
        let bindings = self.bindings.values().flatten();
        let mut bindings: Vec<_> = bindings.filter(|binding| binding.channel_id == channel).collect();
        bindings.sort_by_key(|binding| binding.id);
        bindings
    }
}
