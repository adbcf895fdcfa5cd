//! What folders need of the server: values of their settings, keys, an address.

use super::{Folder, SCOPES, network};
use crate::{
    api::Scopes,
    app::App,
    catalog::{self, DEFAULT},
    config::Config,
    outbound::rehearsal,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use futures::{FutureExt, future::BoxFuture};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};
use tercel_hosts::{Minted, Reach, RootKind, Server, Variable};
use tercel_store::Uuid;

pub struct Services(pub Weak<App>);

impl Server for Services {
    fn values(&self, integration: &str, names: Vec<Variable>) -> BoxFuture<'static, BTreeMap<String, String>> {
        let (app, integration) = (self.0.upgrade(), integration.to_owned());
        async move {
            let Some(app) = app else { return BTreeMap::new() };
            values(&app, &integration, names).await
        }
        .boxed()
    }

    fn mint(&self, integration: &str) -> Minted {
        let id = Uuid::now_v7();
        let key = format!("tf_{}", BASE64.encode(rand::random::<[u8; 32]>()));
        if let Some(app) = self.0.upgrade() {
            let kind = app.folders.kind(integration).unwrap_or(RootKind::Workspace);
            let folder = Folder { integration: integration.into(), kind };
            app.access.lend(id, &key, folder, Scopes::from(SCOPES));
        }
        Minted { id, key: key.into() }
    }

    fn revoke(&self, id: Uuid) {
        if let Some(app) = self.0.upgrade() {
            app.access.take_back(id);
        }
    }

    fn reach(&self, integration: &str, root: RootKind, hosts: &[String]) -> Reach {
        let nowhere = || Reach::Through { port: 0, environment: BTreeMap::new(), readable: Vec::new() };
        self.0.upgrade().map_or_else(nowhere, |app| network::reach(&app, integration, root, hosts))
    }

    fn url(&self) -> String {
        self.0.upgrade().map_or_else(String::new, |app| app.folders.url(&app.config))
    }
}

/// Database, then environment, then default. What bots wrote is given nothing of the environment but what somebody allowed:
/// whatever it calls its variables, nobody meant it.
async fn values(app: &Arc<App>, integration: &str, names: Vec<Variable>) -> BTreeMap<String, String> {
    let settings = app.store.settings().await.unwrap_or_else(|error| {
        tracing::error!(integration, "The settings cannot be read: {error}");
        Vec::new()
    });
    let catalog = app.catalog();
    let entry = catalog.integrations.get(integration);
    let is_bots = app.folders.kind(integration) == Some(RootKind::Workspace);
    let allowed = app.folders.said.allowed(integration);
    let further = allowed.iter().map(|key| Variable { key: key.clone(), ..Variable::default() });
    let mut values = BTreeMap::new();
    for variable in names.into_iter().chain(further).filter(|variable| !Config::is_reserved(&variable.key)) {
        let is_meant = !is_bots || allowed.contains(&variable.key);
        let environment = Some(&app.config.environment).filter(|_| is_meant);
        let field = entry.and_then(|entry| entry.field_by_env(&variable.key));
        let key = field.map_or_else(|| field_key(integration, &variable.key), |field| field.key.clone());
        let stored =
            settings.iter().find(|row| row.integration == integration && row.connection == DEFAULT && row.key == key);
        let place = catalog::place(integration, DEFAULT, &key);
        let value = stored
            .and_then(|row| app.sealer.open(&place, &row.value).ok())
            .or_else(|| environment?.get(&variable.key).map(str::to_owned))
            .or_else(|| variable.default.clone())
            .or_else(|| stand_in(app, &variable));
        values.extend(value.map(|value| (variable.key, value)));
    }
    values
}

/// What is needed and not set, in a rehearsal that asks nobody.
fn stand_in(app: &App, variable: &Variable) -> Option<String> {
    let is_wanted = app.config.rehearse.as_ref().is_some_and(|rehearsal| !rehearsal.live_reads);
    let is_address = variable.key.ends_with("_URL");
    let value = if is_address { "https://rehearsal.invalid" } else { rehearsal::PLACEHOLDER };
    (is_wanted && (variable.required || variable.secret)).then(|| value.to_owned())
}

/// What a variable is called in the connection form: `FORGE_TOKEN` of `forge` is `token`.
fn field_key(integration: &str, variable: &str) -> String {
    let (name, prefix) = (variable.to_lowercase(), format!("{integration}_"));
    name.strip_prefix(&prefix).filter(|rest| !rest.is_empty()).unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_variable_is_its_name_without_whose_it_is() {
        let keys = ["FORGE_TOKEN", "FORGE_", "TOKEN", "FORGETOKEN"].map(|name| field_key("forge", name));
        assert_eq!(keys, ["token", "forge_", "token", "forgetoken"]);
    }
}
