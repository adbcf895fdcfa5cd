//! What the test of a connection looks at besides: whether rows can be made of the records that there are.

use super::{Mapping, ready};
use crate::{
    app::{App, Call},
    catalog::{Entry, Values},
    part::within,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tercel_sdk::{Error, Kind, Result, sync::Record};

/// Records that are tried.
const SAMPLE: i64 = 20;

/// Makes rows of some records with values that need not be saved; nothing is sent.
///
/// # Errors
/// `schema`, with the name that is wrong, or the record that no row can be made of.
pub async fn check(app: &Arc<App>, entry: &Entry, connection: &str, values: &Values) -> Result<()> {
    if entry.integration.sync.is_none() {
        return Ok(());
    }
    let ready = ready(app, entry, connection).await?;
    let stored = app.store.records(&ready.collection, None, SAMPLE).await;
    let stored = stored.map_err(|error| Error::new(Kind::Error, format!("The records cannot be read: {error}")))?;
    let records: Vec<(String, Map<String, Value>)> =
        stored.into_iter().filter_map(|stored| Some((stored.id, serde_json::from_str(&stored.record).ok()?))).collect();
    let maps: Vec<Map<String, Value>> = records.iter().map(|(_, record)| record.clone()).collect();
    ready.mapping.check(&ready.part.reads, &maps)?;
    let Some(rows) = ready.part.rows else { return Ok(()) };
    let id = &entry.integration.name;
    let limit = app.config.limits.connector;
    let ask = async |records: Vec<Record>| -> Result<Vec<Value>> {
        let call = Call { timeout: Some(limit), ..Call::default() };
        let missing = || Error::new(Kind::NotFound, format!("There is no integration `{id}`"));
        let host = app.host_with(id, connection, values, call).ok_or_else(missing)?;
        let rows = rows.clone();
        let call = async move { rows(host, json!(records).into()).await };
        let rows = within(limit, &format!("Making rows of records by `{id}`"), Kind::Timeout, call).await?;
        Ok(serde_json::from_value(rows)?)
    };
    for (id, record) in records {
        let record = sample(&id, &ready.mapping, record);
        let rows = ask(vec![record]).await.map_err(|error| Error {
            message: format!("No row can be made of the record `{id}`: {}", error.message),
            ..error
        })?;
        if rows.first().is_none_or(|row| row.as_object().is_some_and(Map::is_empty)) {
            let message = format!("The record `{id}` has none of what is pushed: its row would be empty");
            return Err(
                Error::schema(message).hint("Map fields of the records to the names that the integration reads")
            );
        }
    }
    Ok(())
}

fn sample(id: &str, mapping: &Mapping, record: Map<String, Value>) -> Record {
    Record { key: id.into(), record: Value::Object(mapping.apply(record)) }
}
