//! By which of several connections something is done.

use crate::{
    app::App,
    catalog::{Catalog, Entry},
};
use serde_json::{Value, json};
use tercel_sdk::{Error, Kind, Result, Target, host::Ids};

/// The argument by which a model chooses.
pub const ARGUMENT: &str = "connection";

/// Of an integration in a run: the one that the event came by, else the one that the answer leaves by, else the usual one.
pub fn of_run<'e>(catalog: &Catalog, entry: &'e Entry, ids: &'e Ids) -> &'e str {
    let name = &entry.integration.name;
    let came_by = ids.source.as_ref().filter(|(integration, _)| integration == name).map(|(_, connection)| connection);
    let leaves_by = ids
        .target
        .as_ref()
        .filter(|target| catalog.dispatchers.get(&target.kind).is_some_and(|owned| &owned.integration == name));
    let leaves_by = leaves_by.and_then(|target| target.connection.as_ref());
    let known = |connection: &&String| entry.connections.contains_key(*connection);
    came_by.filter(known).or(leaves_by.filter(known)).map_or_else(|| entry.usual_connection(), String::as_str)
}

/// The one that an answer leaves by.
///
/// # Errors
/// `not_configured` when the target names one that is not there: the answer waits for it.
pub fn of_target<'e>(entry: &'e Entry, target: &'e Target) -> Result<&'e str> {
    match target.connection.as_deref() {
        None => Ok(entry.usual_connection()),
        Some(connection) if entry.connections.contains_key(connection) => Ok(connection),
        Some(connection) => {
            let id = &entry.integration.name;
            Err(Error::not_configured(format!("`{id}` has no connection `{connection}`"))
                .hint(format!("Connect `{connection}` again, or drop what leaves by it")))
        }
    }
}

/// Those that a model may choose from; none when there is no choice.
fn choices(entry: &Entry) -> Vec<&str> {
    let all: Vec<&str> =
        entry.connections.keys().map(String::as_str).filter(|connection| entry.is_configured(connection)).collect();
    if all.len() < 2 { Vec::new() } else { all }
}

/// The schema of a tool's arguments with the choice in it, if there is one and the tool has no argument of that name.
pub fn offer(entry: &Entry, parameters: &Value) -> Option<Value> {
    let choices = choices(entry);
    let mut parameters = parameters.clone();
    let schema = parameters.as_object_mut()?;
    let properties = schema.entry("properties").or_insert_with(|| json!({})).as_object_mut()?;
    if choices.is_empty() || properties.contains_key(ARGUMENT) {
        return None;
    }
    let description = format!("Which account of {} is used", entry.integration.label);
    properties.insert(ARGUMENT.into(), json!({"type": "string", "enum": choices, "description": description}));
    Some(parameters)
}

/// Takes the choice out of arguments that a model gave, if it was offered one.
pub fn take(offered: bool, arguments: &mut Value) -> Option<String> {
    let chosen = arguments.as_object_mut().filter(|_| offered)?.remove(ARGUMENT)?;
    chosen.as_str().map(str::to_owned)
}

/// The connection that somebody named, else the usual one.
///
/// # Errors
/// `not_found` for one that is not there.
pub fn named(app: &App, integration: &str, connection: Option<&str>) -> Result<String> {
    let catalog = app.catalog();
    let gone = || Error::new(Kind::NotFound, format!("The integration `{integration}` is not there any more"));
    let entry = catalog.integrations.get(integration).ok_or_else(gone)?;
    match connection {
        None => Ok(entry.usual_connection().to_owned()),
        Some(connection) if entry.connections.contains_key(connection) => Ok(connection.to_owned()),
        Some(connection) => {
            let known: Vec<&str> = entry.connections.keys().map(String::as_str).collect();
            let message = format!("`{integration}` has no connection `{connection}`");
            Err(Error::new(Kind::NotFound, message).hint(format!("Known are {}", known.join(", "))))
        }
    }
}
