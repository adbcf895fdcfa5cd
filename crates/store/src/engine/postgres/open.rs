//! Opening PostgreSQL: what cannot work is said before anything is changed.

use super::{
    Address, PATIENCE, SETTINGS, Session,
    session::{connect, take_lock},
    trouble::{code, unusable},
};
use crate::{
    Error, PostgresOptions, Result,
    engine::{Connection, Engine, newer, not_migrated},
};
use sqlx::{Executor, PgConnection, postgres::PgPoolOptions};
use std::time::{Duration, Instant};

/// Answers the connection for writing, too; it has the lock of the database.
///
/// # Errors
/// `Unusable` when the server does not answer or does not let us in, is too old, or the database is in use by another
/// server, of another program, or newer than this one.
pub(crate) async fn open(address: Address, options: &PostgresOptions) -> Result<(Engine, Connection)> {
    let mut connection = enter(&address).await?;
    if let Some(directory) = &options.copies {
        let copied = crate::copies::before_migrating(&mut connection, directory).await;
        let copied = copied.map_err(|error| match error {
            Error::Database(error) => unusable(&address, error),
            error => error,
        })?;
        if let Some(copy) = copied {
            tracing::info!("The database is brought up to date; a copy of it as it was is {}", copy.display());
        }
    }
    match MIGRATIONS.run(&mut connection).await {
        Ok(()) => {}
        Err(sqlx::migrate::MigrateError::VersionMissing(version)) => return Err(newer(&address.place, version)),
        Err(sqlx::migrate::MigrateError::Execute(error) | sqlx::migrate::MigrateError::ExecuteMigration(error, _)) => {
            return Err(unusable(&address, error));
        }
        Err(error) => return Err(not_migrated(&address.place, &error)),
    }
    let pool = PgPoolOptions::new()
        .max_connections(options.readers)
        .min_connections(0)
        .acquire_timeout(PATIENCE)
        .idle_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(sqlx::raw_sql(SETTINGS)).await.map(drop) })
        })
        .connect_lazy_with(address.options.clone());
    Ok((Engine::Postgres(pool), Connection::Postgres(Box::new(Session::new(address, connection)))))
}

/// A connection that has the lock of a database that we may use. Its schema may be an earlier one, or none.
pub(crate) async fn enter(address: &Address) -> Result<PgConnection> {
    let failed = |error| match error {
        Error::Database(error) => unusable(address, error),
        error => error,
    };
    let mut connection = reach(address).await.map_err(failed)?;
    check(&mut connection, address).await.map_err(failed)?;
    take_lock(&mut connection, address).await?;
    Ok(connection)
}

/// Opens a database that another process may be writing, checks it and writes nothing.
pub(crate) async fn look(address: Address) -> Result<Connection> {
    let failed = |error| match error {
        Error::Database(error) => unusable(&address, error),
        error => error,
    };
    let mut connection = reach(&address).await.map_err(failed)?;
    check(&mut connection, &address).await.map_err(failed)?;
    connection.execute("SET default_transaction_read_only = on").await.map_err(|e| unusable(&address, e))?;
    Ok(Connection::Postgres(Box::new(Session::new(address, connection))))
}

/// Connects; waits for a server that is just starting.
async fn reach(address: &Address) -> Result<PgConnection> {
    let begun = Instant::now();
    loop {
        let connected = tokio::time::timeout(PATIENCE, connect(address)).await.map_err(|_| {
            Error::Unusable(format!(
                "PostgreSQL at {} does not answer within {} seconds: correct host and port in DATABASE_URL",
                address.server,
                PATIENCE.as_secs()
            ))
        })?;
        match connected {
            Err(error) if code(&error) == Some("57P03") && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            connected => return connected,
        }
    }
}

pub(crate) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

async fn check(connection: &mut PgConnection, address: &Address) -> Result<()> {
    let place = &address.place;
    let sql = "SELECT current_setting('server_version_num')::BIGINT, current_setting('server_version'), \
               current_setting('server_encoding'), pg_is_in_recovery(), current_schema()::TEXT";
    let (version, name, encoding, replica, schema): (i64, String, String, bool, Option<String>) =
        sqlx::query_as(sql).fetch_one(&mut *connection).await?;
    if version < 150_000 {
        return Err(Error::Unusable(format!(
            "PostgreSQL at {} is version {name}; Tercel needs 15 or later. Nothing was changed",
            address.server
        )));
    }
    if encoding != "UTF8" {
        return Err(Error::Unusable(format!(
            "The database {place} is encoded as {encoding}; make it with ENCODING 'UTF8'. Nothing was changed"
        )));
    }
    if replica {
        return Err(Error::Unusable(format!(
            "The database {place} is a replica that takes no writes: DATABASE_URL must name the primary server"
        )));
    }
    let Some(schema) = schema else {
        return Err(Error::Unusable(format!(
            "The database {place} has no schema to make tables in: make one with CREATE SCHEMA, or correct search_path of the user `{}`",
            address.options.get_username()
        )));
    };
    let tables: Vec<(String,)> = sqlx::query_as("SELECT tablename::TEXT FROM pg_tables WHERE schemaname = $1")
        .bind(schema)
        .fetch_all(&mut *connection)
        .await?;
    if tables.is_empty() {
        return Ok(());
    }
    let has = |table: &str| tables.iter().any(|(name,)| name == table);
    if !has("_sqlx_migrations") || (!has("workers") && tables.len() > 1) {
        return Err(Error::Unusable(format!(
            "The database {place} belongs to another program. Nothing was changed. Make one for Tercel with `createdb`, and name it in DATABASE_URL"
        )));
    }
    let (version,): (Option<i64>,) =
        sqlx::query_as("SELECT MAX(version) FROM _sqlx_migrations").fetch_one(connection).await?;
    match version {
        Some(version) if !MIGRATIONS.version_exists(version) => Err(newer(place, version)),
        _ => Ok(()),
    }
}
