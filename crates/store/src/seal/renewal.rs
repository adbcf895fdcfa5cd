//! Sealing everything anew, when the key was replaced. Whoever reads meanwhile has both keys, and what others write meanwhile
//! is not overwritten.

use super::{KEY_ID, Keys, MARKER, PREFIX, Sealer, key};
use crate::{
    Error, Result, Store,
    engine::{Connection, list},
    failpoint,
    left_out::SEALED,
    writer::Write,
};
use std::{
    path::Path,
    sync::{Arc, PoisonError},
};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Rows of one commit.
const PIECE: i64 = 500;
/// Looks at everything at the most. What is written while a look is under way is found by the next.
const LOOKS: usize = 8;
/// Where what markers are made with is sealed.
const MARKER_PLACE: &str = "server_settings/key.marker";

/// Which row a sealed value stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Id(Uuid),
    Name(String),
    Setting { integration: String, connection: String, key: String },
}

/// One column of [`SEALED`], by its number there.
struct Renewal {
    at: usize,
    /// Row, value before, value after.
    rows: Vec<(Row, String, String)>,
}

impl Write for Renewal {
    type Answer = u64;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<u64>>> {
        let mut answers = Vec::new();
        for renewal in group {
            let (table, column, _) = SEALED[renewal.at];
            let mut changed = 0;
            for (row, before, after) in &renewal.rows {
                let set = format!("UPDATE {table} SET {column} = $2 WHERE {column} = $1");
                changed += match row {
                    Row::Id(id) => {
                        let sql = format!("{set} AND {} = $3", id_of(table));
                        connection.run(sql, list![before, after, *id]).await?
                    }
                    Row::Name(name) => {
                        let sql = format!("{set} AND {} = $3", id_of(table));
                        connection.run(sql, list![before, after, name]).await?
                    }
                    Row::Setting { integration, connection: name, key } => {
                        let sql = format!("{set} AND integration = $3 AND connection = $4 AND key = $5");
                        connection.run(sql, list![before, after, integration, name, key]).await?
                    }
                };
            }
            answers.push(Ok(changed));
        }
        Ok(answers)
    }
}

fn id_of(table: &str) -> &'static str {
    match table {
        "digests" => "session_id",
        "server_settings" => "key",
        _ => "id",
    }
}

impl Store {
    /// Rows with values of a key, in order, after that one.
    async fn sealed_with(&self, at: usize, key: &str, after: Option<&Row>) -> Result<Vec<(Row, String)>> {
        let (table, column, _) = SEALED[at];
        let (id, like) = (id_of(table), format!("%{PREFIX}{key}:%"));
        if table == "settings" {
            let sql = format!("SELECT integration, connection, key, {column} FROM settings WHERE {column} LIKE $1");
            let rows = self.engine.read::<(String, String, String, String)>(sql, list![like]).await?;
            let row = |(integration, connection, key, value)| (Row::Setting { integration, connection, key }, value);
            // All of them at once: there is nothing behind.
            return Ok(if after.is_some() { Vec::new() } else { rows.into_iter().map(row).collect() });
        }
        let sql =
            format!("SELECT {id}, {column} FROM {table} WHERE {id} > $2 AND {column} LIKE $1 ORDER BY {id} LIMIT $3");
        if ["providers", "server_settings"].contains(&table) {
            let after = match after {
                Some(Row::Name(name)) => name.clone(),
                _ => String::new(),
            };
            let rows = self.engine.read::<(String, String)>(sql, list![like, after, PIECE]).await?;
            return Ok(rows.into_iter().map(|(name, value)| (Row::Name(name), value)).collect());
        }
        let after = match after {
            Some(Row::Id(id)) => *id,
            _ => Uuid::nil(),
        };
        let rows = self.engine.read::<(Uuid, String)>(sql, list![like, after, PIECE]).await?;
        Ok(rows.into_iter().map(|(id, value)| (Row::Id(id), value)).collect())
    }

    /// Seals everything with the key of now. `place` says where a value of a table is bound to. Answers how many values
    /// were sealed anew.
    ///
    /// # Errors
    /// Of the database; what was done stays done, and the rest is done by calling this again.
    pub async fn renew_seals(&self, sealer: &Sealer, place: impl Fn(&str, &Row) -> String) -> Result<u64> {
        let Some(previous) = sealer.previous_id() else { return Ok(0) };
        sealer.keep_marker(self).await?;
        let mut all = 0;
        for _ in 0..LOOKS {
            let mut renewed = 0;
            for at in 0..SEALED.len() {
                renewed += self.renew_column(sealer, &previous, at, &place).await?;
            }
            all += renewed;
            if renewed == 0 {
                break;
            }
        }
        if self.server_setting(KEY_ID).await?.is_some() {
            self.put_server_setting(KEY_ID, Some(sealer.id())).await?;
        }
        Ok(all)
    }

    async fn renew_column(
        &self,
        sealer: &Sealer,
        previous: &str,
        at: usize,
        place: &impl Fn(&str, &Row) -> String,
    ) -> Result<u64> {
        let (table, _, form) = SEALED[at];
        let (mut after, mut all) = (None, 0);
        loop {
            let rows = self.sealed_with(at, previous, after.as_ref()).await?;
            let Some((last, _)) = rows.last() else { return Ok(all) };
            after = Some(last.clone());
            let renew = |(row, before): (Row, String)| {
                let new = sealer.renew(&place_of(table, &row, place), form, &before)?;
                Some((row, before, new))
            };
            let rows: Vec<_> = rows.into_iter().filter_map(renew).collect();
            if !rows.is_empty() {
                all += self.writer.write(Renewal { at, rows }).await?;
            }
        }
    }
}

fn place_of(table: &str, row: &Row, place: &impl Fn(&str, &Row) -> String) -> String {
    match row {
        Row::Name(name) if table == "server_settings" && name == MARKER => MARKER_PLACE.into(),
        _ => place(table, row),
    }
}

impl Sealer {
    /// Begins to seal with a new key, which stands in the directory from now on; the one before it still opens.
    ///
    /// # Errors
    /// `Unusable` when the files cannot be written, and when the last replacement has not come to its end.
    pub fn replace_key(&self, directory: &Path) -> Result<()> {
        if let Some(previous) = self.previous_id() {
            return Err(Error::Conflict(format!(
                "The key {previous} was replaced before and still counts until the server starts anew: start it anew first"
            )));
        }
        let current = key::replace(directory)?;
        self.change(|keys| Keys { current, previous: Some(keys.current.clone()), marker: keys.marker.clone() });
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&Keys) -> Keys) {
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *keys = Arc::new(change(&keys));
    }

    /// Keeps what markers are made with under the new key: the one before it will be gone.
    async fn keep_marker(&self, store: &Store) -> Result<()> {
        if store.server_setting(MARKER).await?.is_some() {
            return Ok(());
        }
        let marker = Zeroizing::new(hex::encode(*self.keys().marker));
        let sealed = serde_json::Value::from(self.seal(MARKER_PLACE, &marker));
        store.put_server_setting(MARKER, Some(sealed.to_string())).await?;
        failpoint::hit("seal.marker");
        Ok(())
    }

    /// Takes what markers are made with from the database, if the key was ever replaced.
    ///
    /// # Errors
    /// Of the database. One that cannot be opened, such as in a copy without secrets, is that of the key.
    pub async fn read_marker(&self, store: &Store) -> Result<()> {
        let Some(stored) = store.server_setting(MARKER).await? else { return Ok(()) };
        let sealed = serde_json::from_str::<String>(&stored).unwrap_or_default();
        let Ok(text) = self.open(MARKER_PLACE, &sealed) else { return Ok(()) };
        let mut marker = Zeroizing::new([0; 32]);
        if hex::decode_to_slice(text, marker.as_mut()).is_err() {
            return Ok(());
        }
        self.change(|keys| Keys { current: keys.current.clone(), previous: keys.previous.clone(), marker });
        Ok(())
    }

    /// Nothing is sealed with the key before this one any more, and nobody has a value of it in hand.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub fn forget_previous(&self, directory: &Path) -> Result<()> {
        self.note(directory);
        failpoint::hit("seal.noted");
        key::forget_previous(directory)?;
        self.change(|keys| Keys { current: keys.current.clone(), previous: None, marker: keys.marker.clone() });
        Ok(())
    }
}
