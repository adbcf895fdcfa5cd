//! A PostgreSQL database that cannot be used is said so, with advice, and is not touched.

use crate::world::{
    open,
    postgres::{FAST, NOBODY, Postgres},
    postgres_store,
};
use sqlx::{Connection, PgConnection};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};
use tercel_store::{Error, PostgresOptions, Store, inspect_postgres};

/// Opening fails with these words, and looking as well; the password is nowhere.
async fn refuses(url: &str, words: &[&str]) {
    let opened = Store::open_postgres(&url.into(), PostgresOptions::default()).await.map(drop);
    let looked = inspect_postgres(&url.into(), "").await.map(drop);
    for answer in [opened, looked] {
        let Err(error) = answer else { panic!("{url} was opened") };
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
        let message = error.to_string();
        for word in words {
            assert!(message.contains(word), "{message}");
        }
        assert!(!message.contains("s3cret") && !format!("{error:?}").contains("s3cret"), "{message}");
    }
}

async fn run(url: &str, sql: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_named() {
    refuses("postgres://ann:s3cret@127.0.0.1:1/agents", &["127.0.0.1:1 does not answer", "start it"]).await;
    refuses("postgres://ann:s3cret@localhost/agents?host=/nowhere", &["/nowhere does not answer", "DATABASE_URL"])
        .await;
    refuses("postgres://ann:s3cret@no.such.host.invalid/agents", &["no.such.host.invalid:5432 does not answer"]).await;
}

#[tokio::test]
async fn a_database_that_is_missing_is_named() {
    let server = Postgres::shared();
    refuses(&server.url("nowhere"), &["no database `nowhere`", "createdb nowhere"]).await;
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_right_are_told_apart() {
    let server = Postgres::start(&FAST);
    let database = server.database_as("");
    server.psql("postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'; CREATE ROLE guest LOGIN");
    let locked = database.url.replace("postgres@", "locked:s3cret@");
    refuses(&locked, &["does not let the user `locked` in", "check user and password in DATABASE_URL"]).await;
    let url = database.url.replace("postgres@", "guest@");
    let guest = Store::open_postgres(&url.as_str().into(), PostgresOptions::default()).await;
    let said = guest.map(drop).unwrap_err().to_string();
    assert!(said.contains("The user `guest` may not make tables") && said.contains("OWNER TO guest"), "{said}");
    server.psql("postgres", &format!("GRANT CREATE ON DATABASE {} TO guest", url_database(&database.url)));
    // The schema of its own that PostgreSQL advises is enough.
    run(&url, "CREATE SCHEMA guest").await;
    Store::open_postgres(&url.as_str().into(), PostgresOptions::default()).await.unwrap().close().await;
    assert!(inspect_postgres(&url.as_str().into(), "").await.unwrap().unwrap().latest.is_some());
    assert!(inspect_postgres(&database.url.as_str().into(), "").await.unwrap().is_none(), "the other schema is empty");
}

fn url_database(url: &str) -> &str {
    url.split_once('?').unwrap().0.rsplit_once('/').unwrap().1
}

/// A certificate for `localhost` and the authority that signed it; none where openssl is missing.
fn certificate(directory: &Path) -> Option<()> {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(directory);
        command.output().ok().filter(|output| output.status.success()).map(drop)
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(&format!("req -x509 {key} -keyout authority.key -out authority.pem -subj /CN=authority"))?;
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    ))?;
    openssl(
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -copy_extensions copyall -out server.pem",
    )?;
    openssl(&format!("req -x509 {key} -keyout other.key -out other.pem -subj /CN=other"))
}

#[tokio::test]
async fn the_certificate_of_a_server_is_checked_as_the_address_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let Some(()) = certificate(path) else { return eprintln!("Skipped: making a certificate takes openssl") };
    let file = |name: &str| path.join(name).display().to_string();
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        chown(file("server.key"), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Postgres::start_with_tls(&[
        "fsync=off",
        "listen_addresses=127.0.0.1",
        &format!("port={port}"),
        &format!("ssl_cert_file={}", file("server.pem")),
        &format!("ssl_key_file={}", file("server.key")),
    ]);
    let Some(server) = server else { return eprintln!("Skipped: no PostgreSQL here was built with TLS") };
    let named = server.database_as("");
    let database = url_database(&named.url);
    let url = |more: &str| format!("postgres://postgres@localhost:{port}/{database}?{more}");
    let trusted = url(&format!("sslmode=verify-full&sslrootcert={}", file("authority.pem")));
    for url in [url("sslmode=require"), trusted] {
        let store = Store::open_postgres(&url.as_str().into(), PostgresOptions::default()).await.unwrap();
        store.close().await;
    }
    let other = url(&format!("sslmode=verify-full&sslrootcert={}", file("other.pem")));
    refuses(&other, &["cannot be reached by TLS", "sslrootcert in DATABASE_URL"]).await;
    refuses(&url("sslmode=disable"), &["does not let the user `postgres` in"]).await;
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_its_number() {
    let world = postgres_store().await;
    world.store.close().await;
    let url = &world.database().url;
    run(url, "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations LIMIT 1").await;
    refuses(url, &["made by a newer Tercel (schema 9999)", "Run that version, or restore a backup"]).await;
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let database = Postgres::shared().database();
    run(&database.url, "CREATE TABLE photos (id INTEGER)").await;
    refuses(&database.url, &["belongs to another program", "Nothing was changed", "createdb"]).await;
}

#[tokio::test]
async fn another_encoding_is_refused() {
    let server = Postgres::start(&FAST);
    let database = server.database_as("ENCODING 'LATIN1' LOCALE 'C'");
    refuses(&database.url, &["encoded as LATIN1", "ENCODING 'UTF8'"]).await;
}

#[tokio::test]
async fn a_read_only_server_is_refused() {
    let server = Postgres::start(&["fsync=off", "default_transaction_read_only=on"]);
    let url = server.url("postgres");
    let said = Store::open_postgres(&url.as_str().into(), PostgresOptions::default()).await.map(drop).unwrap_err();
    assert!(said.to_string().contains("is read-only"), "{said}");
}

#[tokio::test]
async fn a_database_can_be_looked_at_while_and_after_its_server_runs() {
    let database = Postgres::shared().database();
    let look = async || inspect_postgres(&database.url.as_str().into(), "").await.unwrap();
    assert!(look().await.is_none(), "there is none yet");
    let store = open(&database).await.unwrap();
    store.put_settings("one", "default", vec![("token".into(), Some("sealed".into()))]).await.unwrap();
    let running = look().await.unwrap();
    assert_eq!((running.settings.len(), running.notices.len(), running.schema > 0), (1, 0, true));
    assert!(matches!(running.latest, Some((_, None))));
    store.close().await;
    assert!(matches!(look().await.unwrap().latest, Some((began, Some(ended))) if began <= ended));
}

#[tokio::test]
async fn the_clock_of_the_database_says_when_a_server_was_seen() {
    let world = postgres_store().await;
    world.store.put_bot("b", "{}".into()).await.unwrap();
    let sql = "SELECT ABS(seen_at - EXTRACT(EPOCH FROM clock_timestamp()) * 1000000) < 10000000 FROM workers";
    assert_eq!(world.rows(sql).await, ["1"]);
}

#[tokio::test]
async fn a_postgresql_that_is_too_old_is_named_with_the_one_that_is_needed() {
    let database = Postgres::shared().database();
    // As an earlier one answers: what stands in front of the catalog is asked first.
    let sql = "CREATE SCHEMA earlier; \
               CREATE FUNCTION earlier.current_setting(name TEXT) RETURNS TEXT LANGUAGE SQL AS $$ SELECT CASE name \
               WHEN 'server_version_num' THEN '140018' WHEN 'server_version' THEN '14.18' \
               ELSE pg_catalog.current_setting(name) END $$; \
               DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = earlier, pg_catalog, public', \
               current_database()); END $$";
    run(&database.url, sql).await;
    refuses(&database.url, &["is version 14.18", "needs 15 or later", "Nothing was changed"]).await;
    let mut eye = PgConnection::connect(&database.url).await.unwrap();
    let tables = "SELECT COUNT(*) FROM pg_tables WHERE schemaname IN ('earlier', 'public')";
    assert_eq!(sqlx::query_scalar::<_, i64>(tables).fetch_one(&mut eye).await.unwrap(), 0);
}
