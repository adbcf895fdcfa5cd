//! Copies without secrets: where sealed values stand, and what stands in their place.

use crate::{
    Result,
    engine::{Connection, list},
    seal::{LEFT_OUT, PREFIX},
};
use serde_json::Value;
use std::collections::HashSet;

/// Every column in which sealed values may stand; a test holds the schema against it.
pub const SEALED: [(&str, &str, Form); 14] = [
    ("bindings", "sealed_target", Form::Json),
    ("channels", "sealed_target", Form::Json),
    ("deliveries", "sealed_request", Form::Whole),
    ("digests", "sealed_target", Form::Json),
    ("hooks", "sealed_old_secret", Form::Whole),
    ("hooks", "sealed_secret", Form::Whole),
    ("outbox", "sealed_target", Form::Json),
    ("providers", "sealed_api_key", Form::Whole),
    ("schedules", "sealed_target", Form::Json),
    ("server_settings", "value", Form::Json),
    ("sessions", "sealed_target", Form::Json),
    ("settings", "sealed_earlier", Form::Whole),
    ("settings", "value", Form::Whole),
    ("tasks", "sealed_target", Form::Json),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The sealed value alone.
    Whole,
    /// JSON with sealed values in it, in a table with row numbers.
    Json,
}

pub(crate) fn form(table: &str, column: &str) -> Option<Form> {
    SEALED.into_iter().find(|(t, c, _)| (*t, *c) == (table, column)).map(|(.., form)| form)
}

/// What PostgreSQL puts in the place of a column.
pub(crate) fn expression(column: &str, form: Form) -> String {
    match form {
        Form::Whole => format!("CASE WHEN {column} LIKE '{PREFIX}%' THEN '{LEFT_OUT}' ELSE {column} END"),
        // A string of JSON, to its end.
        Form::Json => format!(r#"regexp_replace({column}, '"{PREFIX}([^"\\]|\\.)*"', '"{LEFT_OUT}"', 'g')"#),
    }
}

/// Rows that are rewritten at once.
const PIECE: i64 = 1_000;

/// On SQLite, puts a word that opens nowhere in the place of every sealed value. What needs its secret says so instead of going out
/// without it.
pub(crate) async fn leave_out(connection: &mut Connection) -> Result<()> {
    let there = tables(connection).await?;
    connection.begin().await?;
    for (table, column, form) in SEALED.into_iter().filter(|(table, ..)| there.contains(*table)) {
        match form {
            Form::Whole => {
                let sql = format!("UPDATE {table} SET {column} = $1 WHERE {column} LIKE 'sealed:1:%'");
                connection.run(sql, list![LEFT_OUT]).await?;
            }
            Form::Json => rewrite(connection, table, column).await?,
        }
    }
    connection.commit().await
}

async fn rewrite(connection: &mut Connection, table: &str, column: &str) -> Result<()> {
    let read = format!(
        "SELECT rowid, {column} FROM {table} WHERE rowid > $1 AND {column} LIKE '%\"sealed:1:%' ORDER BY rowid LIMIT $2"
    );
    let write = format!("UPDATE {table} SET {column} = $2 WHERE rowid = $1");
    let mut after = 0;
    loop {
        let rows: Vec<(i64, String)> = connection.all(read.as_str(), list![after, PIECE]).await?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = *last;
        for (row, json) in &rows {
            connection.run(write.as_str(), list![*row, without(json)]).await?;
        }
    }
}

/// The same JSON with the word in place of each sealed value.
fn without(json: &str) -> String {
    fn visit(json: &mut Value) {
        match json {
            Value::String(text) if text.starts_with(PREFIX) => *text = LEFT_OUT.into(),
            Value::Array(list) => list.iter_mut().for_each(visit),
            Value::Object(map) => map.values_mut().for_each(visit),
            _ => {}
        }
    }
    // What cannot be read may have anything in it.
    let mut value = serde_json::from_str(json).unwrap_or_else(|_| LEFT_OUT.into());
    visit(&mut value);
    value.to_string()
}

/// A copy may be of an earlier version.
async fn tables(connection: &mut Connection) -> Result<HashSet<String>> {
    let sql = connection.dialect().either(
        "SELECT name FROM sqlite_schema WHERE type = 'table'",
        "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = current_schema()",
    );
    let tables: Vec<(String,)> = connection.all(sql, list![]).await?;
    Ok(tables.into_iter().map(|(name,)| name).collect())
}

/// Rows with secrets that another key than this one has sealed, by table.
pub(crate) async fn sealed_otherwise(connection: &mut Connection, key: &str) -> Result<Vec<(&'static str, i64)>> {
    let there = tables(connection).await?;
    let mut counts = Vec::new();
    for (table, column, form) in SEALED.into_iter().filter(|(table, ..)| there.contains(*table)) {
        let begin = if form == Form::Json { "%\"" } else { "" };
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE {column} LIKE $1 AND {column} NOT LIKE $2");
        let args = list![format!("{begin}{PREFIX}%"), format!("{begin}{PREFIX}{key}:%")];
        let (count,) = connection.first::<(i64,)>(sql, args).await?.unwrap_or_default();
        if count > 0 {
            counts.push((table, count));
        }
    }
    Ok(counts)
}

/// What needs its secrets again, a line each.
pub(crate) async fn needed(connection: &mut Connection) -> Result<Vec<String>> {
    let there = tables(connection).await?;
    let like = format!("%{LEFT_OUT}%");
    let mut lines = Vec::new();
    let sql = "SELECT CASE WHEN connection = 'default' THEN '`' || integration || '`: ' \
               ELSE 'the connection `' || connection || '` of `' || integration || '`: ' END || string_agg(key, ', ' ORDER BY key) \
               FROM settings WHERE value LIKE $1 GROUP BY integration, connection ORDER BY integration, connection";
    lines.extend(connection.all::<(String,)>(sql, list![&like]).await?);
    for (table, condition, named) in [
        ("providers", "sealed_api_key LIKE $1", "'the provider `' || id || '`: its key'"),
        ("channels", "sealed_target LIKE $1", "'the channel `' || client_id || '`: its dispatch_config'"),
        ("bindings", "sealed_target LIKE $1", "'the binding of `' || client_id || '`: its dispatch_config'"),
        ("schedules", "sealed_target LIKE $1", "'the schedule `' || name || '`: its dispatch_config'"),
        ("hooks", "sealed_secret LIKE $1", "'the hook ' || id || ': rotate its secret'"),
        ("server_settings", "value LIKE $1 AND key = 'notices.target'", "'notices: where they are sent'"),
    ]
    .into_iter()
    .filter(|(table, ..)| there.contains(*table))
    {
        let sql = format!("SELECT {named} FROM {table} WHERE {condition} ORDER BY 1");
        lines.extend(connection.all::<(String,)>(sql, list![&like]).await?);
    }
    let mut lines: Vec<String> = lines.into_iter().map(|(line,)| line).collect();
    for (table, condition, named) in [
        ("sessions", "active", "conversations whose dispatch_config has a secret: open them again with it"),
        (
            "tasks",
            "status IN ('pending', 'running', 'waiting')",
            "runs whose answers cannot leave: cancel them, ask again",
        ),
        ("outbox", "state IN ('pending', 'sending', 'held', 'parked')", "answers that cannot leave: drop them"),
    ] {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE sealed_target LIKE $1 AND {condition}");
        let count = connection.first::<(i64,)>(sql, list![&like]).await?.unwrap_or_default().0;
        if count > 0 {
            lines.push(format!("{count} {named}"));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_leaves_a_word_behind_and_the_rest_stays() {
        let sealed =
            r#"{"type":"chat","token":"sealed:1:abcd:Zz9","list":[{"key":"sealed:1:a\"b"}],"note":"it is sealed:1:"}"#;
        let left: Value = serde_json::from_str(&without(sealed)).unwrap();
        let expected = serde_json::json!({
            "type": "chat", "token": LEFT_OUT, "list": [{"key": LEFT_OUT}], "note": "it is sealed:1:",
        });
        assert_eq!(left, expected);
        assert_eq!(without("{damaged \"sealed:1:abcd:Zz9"), format!("\"{LEFT_OUT}\""));
    }
}
