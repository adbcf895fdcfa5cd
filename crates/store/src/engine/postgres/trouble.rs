//! What errors of PostgreSQL mean.

use super::Address;
use crate::Error;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// The five characters of <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(crate) fn code(error: &Error) -> Option<&str> {
    let Error::Database(error) = error else { return None };
    Some(database_error(error)?.code())
}

fn database_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()
}

/// Whether the connection is of no use any more.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error {
        Error::Away(_) => true,
        Error::Database(sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => true,
        Error::Database(error) => database_error(error).is_some_and(|e| {
            // A server that became a replica takes no writes on any connection; another one may by now.
            matches!(e.severity(), PgSeverity::Fatal | PgSeverity::Panic)
                || e.code().starts_with("08")
                || e.code() == "25006"
        }),
        _ => false,
    }
}

/// Whether waiting may help.
pub(crate) fn is_passing(code: &str) -> bool {
    // Connection; resources, of which 53100 is a full disk; shutting down or starting; cancelled; lock not available;
    // read-only; two transactions in each other's way.
    ["08", "53", "57P"].iter().any(|class| code.starts_with(class))
        || ["57014", "55P03", "25006", "40001", "40P01"].contains(&code)
}

/// Why the database cannot be opened, and what to do.
pub(crate) fn unusable(address: &Address, error: sqlx::Error) -> Error {
    let place = &address.place;
    let server = &address.server;
    let user = address.options.get_username();
    let said = database_error(&error).map_or_else(|| error.to_string(), |e| e.message().to_owned());
    let code = database_error(&error).map(|e| e.code().to_owned()).unwrap_or_default();
    Error::Unusable(match (code.as_str(), &error) {
        ("28P01" | "28000", _) => format!(
            "PostgreSQL at {server} does not let the user `{user}` in ({said}): check user and password in DATABASE_URL, and pg_hba.conf of the server"
        ),
        ("3D000", _) => format!(
            "PostgreSQL at {server} has no database `{}`: make it with `createdb {0}`, or name another in DATABASE_URL",
            address.database()
        ),
        ("42501", _) => format!(
            "The user `{user}` may not make tables in the database {place} ({said}): let it own the database (`ALTER DATABASE … OWNER TO {user}`) or grant it CREATE on the schema"
        ),
        ("53300", _) => format!(
            "PostgreSQL at {server} has no connection left ({said}): raise its max_connections, or end what uses them"
        ),
        ("25006", _) => {
            format!("The database {place} is read-only ({said}): DATABASE_URL must name the primary server")
        }
        ("53100" | "53200", _) => format!("PostgreSQL at {server} is short of disk or memory ({said}): free some"),
        ("55P03", _) => format!("The database {place} is locked by another program ({said}): end that program"),
        (_, sqlx::Error::Io(failure)) if failure.kind() != std::io::ErrorKind::InvalidData => format!(
            "PostgreSQL at {server} does not answer ({said}): start it, or correct host and port in DATABASE_URL"
        ),
        (_, sqlx::Error::Io(_) | sqlx::Error::Tls(_)) => format!(
            "PostgreSQL at {server} cannot be reached by TLS ({said}): sslmode and sslrootcert in DATABASE_URL say what is expected of its certificate"
        ),
        _ => format!("The database {place} cannot be used ({said})"),
    })
}
