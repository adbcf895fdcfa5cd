//! What a measured server stores in: a file in its data directory, or a database of a PostgreSQL that is started here.

use crate::postgres::Postgres;
use anyhow::{Context, Result, ensure};
use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

#[derive(Clone)]
pub enum Engine {
    Sqlite,
    /// With the durability that PostgreSQL has by itself: every commit is on the disk when it is answered.
    Postgres(Arc<Postgres>),
}

/// A database of one's own, gone when it is dropped.
pub struct Database {
    pub url: String,
    name: String,
    server: Arc<Postgres>,
}

impl Engine {
    /// Starts a PostgreSQL, which ends with this process, however that ends.
    pub fn postgres() -> Result<Self> {
        let server = Postgres::start_below(&parent()?, &[]).context(
            "No PostgreSQL was found. `make bench` brings one; on Debian the packages `postgresql` and \
             `postgresql-contrib` do as well. `--engine sqlite` measures without it",
        )?;
        Ok(Self::Postgres(Arc::new(server)))
    }

    /// What stands behind the names of its rows.
    pub fn suffix(&self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres(_) => ", PostgreSQL",
        }
    }

    /// An empty database, where one is needed.
    pub fn database(&self) -> Result<Option<Database>> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let Self::Postgres(server) = self else { return Ok(None) };
        let name = format!("bench_{}", MADE.fetch_add(1, Ordering::Relaxed));
        psql(server, "postgres", &format!("CREATE DATABASE {name} TEMPLATE template0"))?;
        Ok(Some(Database { url: server.url(&name), name, server: server.clone() }))
    }
}

impl Database {
    /// A program of PostgreSQL that comes with the server.
    pub fn program(&self, name: &str) -> Result<Command> {
        program(&self.server, name)
    }

    /// What statements answer.
    pub fn ask(&self, statements: &str) -> Result<String> {
        psql(&self.server, &self.name, statements)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // One that stays goes with the server.
        let _ = psql(&self.server, "postgres", &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

fn program(server: &Postgres, name: &str) -> Result<Command> {
    let found = Some(server.psql.with_file_name(name)).filter(|file| file.is_file()).with_context(|| {
        format!(
            "There is no `{name}` beside `psql`: `make bench` brings it; on Debian it is in `postgresql` or \
             `postgresql-contrib`"
        )
    });
    found.map(Command::new)
}

fn psql(server: &Postgres, database: &str, statements: &str) -> Result<String> {
    let mut command = program(server, "psql")?;
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &server.url(database), "-f", "-"]);
    let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let written = psql.stdin.take().context("psql has no input")?.write_all(statements.as_bytes());
    let output = psql.wait_with_output()?;
    ensure!(output.status.success(), "PostgreSQL refused: {}", String::from_utf8_lossy(&output.stderr));
    written?;
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// The disk that the program lies on, as for SQLite, where another user can get there: as root PostgreSQL does not run.
fn parent() -> Result<PathBuf> {
    /// Paths of sockets are short.
    const LONGEST: usize = 60;
    let own = std::env::current_exe()?;
    let beside = own.parent().context("the program lies in no directory")?;
    let open = |directory: &Path| directory.metadata().is_ok_and(|it| it.permissions().mode() & 0o001 != 0);
    let is_reached = !rustix::process::geteuid().is_root() || beside.ancestors().all(open);
    if is_reached && beside.as_os_str().len() <= LONGEST {
        return Ok(beside.to_owned());
    }
    eprintln!("PostgreSQL stores below {}, which may be another disk than SQLite's", std::env::temp_dir().display());
    Ok(std::env::temp_dir())
}
