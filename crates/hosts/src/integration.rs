//! From a description to an [`Integration`] like every other: each part calls the worker.

mod connector;
mod dispatchers;
mod documents;
mod fields;
mod hooks;
mod panels;
mod places;
mod routes;
mod tools;

use crate::{Problem, description::Description, worker::Supervisor};
use std::path::Path;
use tercel_sdk::{Integration, Verify};

pub use documents::documents;
pub use fields::{list as field_list, name as field_name, of_form as field_of};

/// What the manifest adds that only the host does.
#[derive(Clone, Default)]
pub struct Extra {
    pub verify: Option<Verify>,
}

/// All parts, and what of the description cannot be one.
pub fn integration(
    id: &str,
    described: &Description,
    code: &Path,
    worker: &Supervisor,
    extra: &Extra,
) -> (Integration, Vec<Problem>) {
    let (mut made, mut problems) = without_code(id, described, code);
    made.tools = tools::tools(described, worker);
    made.dispatchers = dispatchers::dispatchers(described, worker);
    made.hooks = hooks::hooks(described, worker, &mut problems);
    made.routes = routes::routes(id, described, worker, extra, &mut problems);
    let connector = described.connector.as_ref();
    made.connector = connector.map(|connector| connector::connector(connector, described, worker));
    made.sync = connector.and_then(|connector| connector::sync(connector, described, worker));
    made.user_attribution = places::user_attribution(described, worker);
    made.display_names = places::display_names(described, worker);
    made.place_target = places::place_target(described, worker);
    for prefix in described.meta.iter().filter_map(|meta| meta.client_id_prefix.clone()) {
        if !prefix.is_empty() && !made.prefixes.contains(&prefix) {
            made.prefixes.push(prefix);
        }
    }
    (made, problems)
}

/// What is known without any code.
pub fn without_code(id: &str, described: &Description, code: &Path) -> (Integration, Vec<Problem>) {
    let mut problems = Vec::new();
    let (mut made, unread) = documents(id, code);
    problems.extend(unread);
    let connector = described.connector.as_ref();
    let label = connector.and_then(|connector| connector.label.clone()).or_else(|| described.name.clone());
    made.label = label.unwrap_or_else(|| id.into());
    made.version = described.version.clone().unwrap_or(made.version);
    made.description = described.description.clone();
    made.icon = described.icon.clone().unwrap_or(made.icon);
    let tier = described.tier.clone().or_else(|| connector.and_then(|connector| connector.tier.clone()));
    made.tier = tier.unwrap_or(made.tier);
    made.fields = fields::fields(id, described, &mut problems);
    made.process = described.process.clone();
    made.sidebar_section = panels::section(described, &mut problems);
    made.dashboard_modules = panels::modules(described, &mut problems);
    made.features = panels::features(described, &mut problems);
    made.identity_fields = described.identity_fields.clone();
    made.activation = described.activation.clone().filter(|activation| activation.is_object());
    (made, problems)
}
