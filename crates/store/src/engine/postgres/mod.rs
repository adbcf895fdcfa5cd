//! PostgreSQL: an address, connections for reading, one session for writing.

mod address;
mod open;
mod session;
mod trouble;

pub(crate) use address::Address;
pub(crate) use open::{MIGRATIONS, enter, look, open};
pub(crate) use session::Session;
pub(crate) use trouble::{code, is_lost, is_passing, unusable};

use super::{Arg, Record, Row, Sql, values};
use crate::{Error, Result};
use sqlx::postgres::PgPool;
use std::time::{Duration, Instant};

/// How long reads and writes wait for a database that is away before they fail.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long connecting may take, in one try.
pub(crate) const CONNECTING: Duration = Duration::from_secs(5);
/// A transaction that is not answered for so long is not waited for.
pub(crate) const TRANSACTION: Duration = Duration::from_secs(30);
pub(crate) const BEAT: Duration = Duration::from_secs(5);

/// For every connection. A database whose commits are not on disk would break what was promised to senders.
pub(crate) const SETTINGS: &str = "SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '60s'; \
     SET default_transaction_isolation = 'read committed'; SET jit = off; SET client_min_messages = warning; \
     SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
     SELECT set_config('synchronous_commit', 'on', FALSE) WHERE current_setting('synchronous_commit') = 'off'";

/// Reads once, and again when the connection turned out to be dead: reading twice does no harm.
pub(crate) async fn read<T: Record>(pool: &PgPool, sql: Sql, args: Vec<Arg>) -> Result<Vec<T>> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(10);
    loop {
        let asked = async {
            let bound = values::postgres(&sql, &args)?;
            let rows = sqlx::query_with(sql.clone().text(), bound).fetch_all(pool).await?;
            rows.iter().map(|row| T::read(&Row::Postgres(row))).collect()
        };
        match tokio::time::timeout(TRANSACTION, asked).await {
            Ok(Err(error)) if is_lost(&error) && begun.elapsed() + pause < PATIENCE => tokio::time::sleep(pause).await,
            Ok(answer) => return answer,
            Err(_) => {
                return Err(Error::Away("The database did not answer a question in time; nothing was lost".into()));
            }
        }
        pause = (pause * 2).min(Duration::from_millis(500));
    }
}
