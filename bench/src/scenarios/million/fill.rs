//! A large database as an earlier version left it: the first migrations, and rows as years of use would have made them.

use crate::server::Place;
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha384};
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

const ROWS: &str = include_str!("fill.sql");
/// Messages in one conversation.
const LONG: u64 = 50;

macro_rules! migrations {
    ($engine:literal) => {
        migrations!($engine, "0001_first", "0002_attachments", "0003_schedules", "0004_usage", "0005_providers")
    };
    ($engine:literal, $($name:literal),+) => {
        [$(include_str!(concat!("../../../../crates/store/migrations/", $engine, "/", $name, ".sql"))),+]
    };
}

/// `unhex` and the like are in no SQLite that is everywhere. Nothing that is made here has to survive a crash.
const PYTHON: &str = r#"
import sqlite3, sys, uuid
start = int(sys.argv[2]) // 1000
database = sqlite3.connect(sys.argv[1])
make = lambda kind, n: bytes.fromhex("%012x7%03x8%015x" % (start + n * 1000, kind, n))
database.create_function("id", 2, make, deterministic=True)
database.create_function("named", 2, lambda kind, n: str(uuid.UUID(bytes=make(kind, n))), deterministic=True)
database.create_function("body", 1, lambda n: bytes(1) + (b"%032x" % (n * 2654435761)) * 22, deterministic=True)
database.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -65536; BEGIN;" + sys.stdin.read() + "COMMIT;")
"#;

/// Fills the database of a place that no server was started in. The newest rows are of now.
pub fn fill(place: &Place, messages: u64) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let start = (now - Duration::from_secs(messages)).as_micros();
    let rows = ROWS
        .replace("@messages@", &messages.to_string())
        .replace("@sessions@", &(messages / LONG).to_string())
        .replace("@start@", &start.to_string())
        .replace("@end@", &now.as_micros().to_string());
    let Some(database) = &place.database else {
        let script =
            history("TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP", "BLOB", "X'", &migrations!("sqlite")) + &rows;
        return by_python(place, start, &script);
    };
    let functions = format!(
        "CREATE FUNCTION id(kind BIGINT, n BIGINT) RETURNS UUID LANGUAGE SQL IMMUTABLE AS $$ SELECT (lpad(to_hex({start} / 1000 \
         + n * 1000), 12, '0') || '7' || lpad(to_hex(kind), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::UUID $$;\n\
         CREATE FUNCTION named(kind BIGINT, n BIGINT) RETURNS TEXT LANGUAGE SQL IMMUTABLE AS $$ SELECT id(kind, n)::TEXT $$;\n\
         CREATE FUNCTION body(n BIGINT) RETURNS BYTEA LANGUAGE SQL IMMUTABLE AS \
         $$ SELECT decode('00' || repeat(md5(n::TEXT), 44), 'hex') $$;\n"
    );
    let history = history("TIMESTAMPTZ NOT NULL DEFAULT now()", "BYTEA", "'\\x", &migrations!("postgres"));
    database.ask(&format!(
        "BEGIN;\n{history}{functions}{rows}DROP FUNCTION named; DROP FUNCTION id; DROP FUNCTION body;\nCOMMIT;\nVACUUM ANALYZE;"
    ))?;
    Ok(())
}

/// The migrations, and what the program notes of them.
fn history(time: &str, bytes: &str, quote: &str, migrations: &[&str]) -> String {
    let mut script = format!(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on {time}, \
         success BOOLEAN NOT NULL, checksum {bytes} NOT NULL, execution_time BIGINT NOT NULL);\n"
    );
    for (n, migration) in (1..).zip(migrations) {
        let checksum = hex::encode(Sha384::digest(migration));
        script += migration;
        script += &format!(
            "\nINSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES ({n}, 'of the bench', TRUE, {quote}{checksum}', 0);\n"
        );
    }
    script
}

fn by_python(place: &Place, start: u128, script: &str) -> Result<()> {
    fs::create_dir_all(place.data())?;
    let mut python = Command::new("python3")
        .args(["-c", PYTHON])
        .arg(place.data().join("tercel.db"))
        .arg(start.to_string())
        .stdin(Stdio::piped())
        .spawn()
        .context("`python3` makes the large SQLite database, and cannot be started")?;
    python.stdin.take().context("python3 has no input")?.write_all(script.as_bytes())?;
    let status = python.wait()?;
    ensure!(status.success(), "the large database could not be made: python3 ended with {status}");
    Ok(())
}
