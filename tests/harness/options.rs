//! How a server is started: the program, a directory of its own, nothing else in its environment.

use crate::{
    Engine, FakeGitHub, FakeModel, Server,
    disk::{psql, sqlite},
    events::SECRET,
    postgres::{Database, Postgres},
    server::KEY,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use tempfile::TempDir;

#[derive(Clone)]
pub struct Options {
    environment: BTreeMap<String, String>,
    place: Arc<TempDir>,
    /// Where PostgreSQL keeps what is stored.
    pub(crate) database: Option<Arc<Database>>,
    pub(crate) data: PathBuf,
    pub(crate) program: PathBuf,
    /// Whether writes beyond a limit of the process are errors to it, and not its end.
    hears_of_limits: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    pub fn new() -> Self {
        let on_postgres = Engine::tested() == Engine::Postgres;
        Self::storing(on_postgres.then(|| with_tables(Postgres::shared())))
    }

    /// Stores in this PostgreSQL database.
    pub fn storing_in(database: Database) -> Self {
        Self::storing(Some(database))
    }

    fn storing(database: Option<Database>) -> Self {
        let place = Arc::new(tempfile::Builder::new().prefix("tercel-test-").tempdir().unwrap());
        let home = place.path().join("home");
        fs::create_dir(&home).unwrap();
        let data = place.path().join("data");
        let database = database.map(Arc::new);
        let mut options = Self {
            environment: BTreeMap::new(),
            place,
            database,
            data: data.clone(),
            program: program(),
            hears_of_limits: false,
        };
        if let Some(database) = &options.database {
            options.environment.insert("DATABASE_URL".into(), database.url.clone());
        }
        options
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", home.to_str().unwrap())
            .env("TERCEL_LISTEN", "127.0.0.1:0")
            .env("API_KEY", KEY)
            // Tests ask more often than people.
            .env("TERCEL_RATE", "0")
            .data(&data)
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// Environments for Python are made of packages that were fetched before, if they were, and fetched as on this
    /// machine.
    pub fn with_python(mut self) -> Self {
        let tools = crate::python::interpreter().parent().unwrap().to_owned();
        let cache = tools.parent().unwrap().with_file_name("uv-cache");
        let home = self.place.path().join("home/.cache/tercel");
        fs::create_dir_all(&home).unwrap();
        symlink(environments(), home.join("envs")).unwrap();
        self.environment.extend(fetching());
        self.env("PATH", &format!("/usr/local/bin:/usr/bin:/bin:{}", tools.display()))
            .env("UV_CACHE_DIR", cache.to_str().unwrap())
            .env("PIP_CACHE_DIR", cache.join("pip").to_str().unwrap())
    }

    /// The same for a server, which then need not make an environment at its start.
    pub fn with_shared_python(self) -> Self {
        // The user that runs the code gets through to what is its own.
        fs::set_permissions(self.place.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::create_dir_all(&self.data).unwrap();
        symlink(environments(), self.data.join("envs")).unwrap();
        self.with_python()
    }

    pub fn github(self, github: &FakeGitHub) -> Self {
        self.env("GITHUB_API_URL", &github.url())
            .env("GITHUB_TOKEN", "ghp_of_the_tests_0123456789")
            .env("GITHUB_WEBHOOK_SECRET", SECRET)
            // Most tests count requests, and this one comes at its own time.
            .env("GITHUB_REACTION", "none")
            .env("GITHUB_BOT_LOGIN", crate::github::LOGIN)
    }

    pub fn model(self, model: &FakeModel) -> Self {
        self.env("LLM_BASE_URL", &model.url())
            .env("LLM_API_KEY", "sk-of-the-tests-0123456789")
            .env("LLM_MODEL", crate::model::NAME)
    }

    /// For servers whose disk becomes [`ReadOnly`](crate::disk::ReadOnly).
    pub fn hearing_of_limits(self) -> Self {
        Self { hears_of_limits: true, ..self }
    }

    /// Callers of the API may name addresses on loopback: where receivers of the tests listen.
    pub fn allow_loopback(self) -> Self {
        self.env("TERCEL_ALLOW_PRIVATE", "127.0.0.0/8")
    }

    /// A model that says nothing for so long is given up.
    pub fn model_timeout(self, seconds: u32) -> Self {
        self.env("TERCEL_MODEL_TIMEOUT", &seconds.to_string())
    }

    /// An outside service that says nothing for so long is given up.
    pub fn http_timeout(self, seconds: u32) -> Self {
        self.env("TERCEL_HTTP_TIMEOUT", &seconds.to_string())
    }

    /// Runs that one channel may have in an hour, and one integration in a day.
    pub fn ceilings(self, channel_hour: u32, integration_day: u32) -> Self {
        self.env("TERCEL_RUNS_PER_HOUR", &channel_hour.to_string())
            .env("TERCEL_RUNS_PER_DAY", &integration_day.to_string())
    }

    pub fn data(mut self, directory: &Path) -> Self {
        self.data = directory.to_owned();
        self.env("TERCEL_DATA_DIR", directory.to_str().unwrap())
    }

    /// The data directory of another server, with this one's environment otherwise.
    pub fn beside(self, other: &Server) -> Self {
        self.data(&other.options.data)
    }

    /// Stores in another database.
    pub fn on(mut self, database: Database) -> Self {
        let url = database.url.clone();
        self.database = Some(Arc::new(database));
        self.env("DATABASE_URL", &url)
    }

    /// Stores in the PostgreSQL database of another server, with a directory of its own.
    pub fn on_that_of(mut self, other: &Server) -> Self {
        self.database = other.options.database.clone();
        let url = self.database.as_ref().expect("the other server is on PostgreSQL").url.clone();
        self.env("DATABASE_URL", &url)
    }

    pub fn database_url(&self) -> Option<&str> {
        self.database.as_deref().map(|database| database.url.as_str())
    }

    /// An empty place to store in, on the same engine.
    pub fn elsewhere(self, data: &Path) -> Self {
        let options = self.data(data);
        match Engine::tested() {
            Engine::Sqlite => options,
            Engine::Postgres => options.on(with_tables(Postgres::shared())),
        }
    }

    /// Runs statements on what is stored, from outside, and answers what they say, a line for each row.
    pub fn sql(&self, statements: &str) -> String {
        match &self.database {
            None => sqlite(&self.data.join("tercel.db"), statements),
            Some(database) => psql(database, statements),
        }
    }

    /// Ends the sessions of whoever has the database of PostgreSQL, as keepalives of the network do after a while.
    pub fn cut_sessions(&self) {
        self.sql(
            "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE application_name LIKE 'tercel%' AND datname = current_database()",
        );
    }

    /// As if the open syncs had been tried so often since they last got on.
    pub fn has_tried_syncs(&self, attempts: u32) {
        self.sql(&format!("UPDATE syncs SET attempts = {attempts} WHERE ended_at IS NULL"));
    }

    /// As if the clock had been a month ahead when it was said when syncs come next: open ones, or planned ones.
    pub fn puts_off_syncs(&self, table: &str) {
        self.sql(&format!("UPDATE {table} SET next_at = next_at + 2592000000000"));
    }

    /// All that is stored, as it is stored.
    pub fn stored(&self) -> String {
        let Some(database) = &self.database else {
            let files = ["tercel.db", "tercel.db-wal"].map(|name| fs::read(self.data.join(name)).unwrap_or_default());
            return String::from_utf8_lossy(&files.concat()).into_owned();
        };
        let tables = psql(database, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()");
        // Bytes as what they say, not as hexadecimal digits.
        let rows = |table: &str| psql(database, &format!("SET bytea_output = 'escape'; SELECT * FROM {table}"));
        tables.lines().map(rows).collect()
    }

    pub fn data_directory(&self) -> &Path {
        &self.data
    }

    /// The working directory: what a `.env` or a `tercel.toml` lies in.
    pub fn place(&self) -> &Path {
        self.place.path()
    }

    /// A command of the program, in the same place and environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.hears_of_limits {
            // What a shell ignores, the program in its place does.
            true => Command::new("/bin/sh"),
            false => Command::new(&self.program),
        };
        if self.hears_of_limits {
            command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(&self.program);
        }
        command.args(arguments).current_dir(self.place.path()).env_clear().envs(&self.environment);
        command
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.place.path().join("server.log")
    }
}

/// An empty database that has the tables of the program.
pub fn with_tables(server: &'static Postgres) -> Database {
    server.with_tables(|database| {
        let place = tempfile::tempdir().unwrap();
        let mut command = Command::new(program());
        command.args(["keys", "list"]).current_dir(place.path()).env_clear();
        let made = command.env("DATABASE_URL", &database.url).env("TERCEL_DATA_DIR", place.path()).output().unwrap();
        assert!(made.status.success(), "no tables were made: {}", String::from_utf8_lossy(&made.stderr));
    })
}

/// What programs that fetch packages are told on this machine.
#[expect(clippy::disallowed_methods, reason = "what fetches packages is set up for the machine, not for a test")]
pub fn fetching() -> impl Iterator<Item = (String, String)> {
    let names = ["PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    std::env::vars().filter(move |(name, _)| names.iter().any(|start| name.starts_with(start)))
}

/// Where all tests have their environments for Python.
fn environments() -> PathBuf {
    let interpreter = crate::python::interpreter();
    let target = interpreter.ancestors().nth(3).expect("it lies in the directory of what is built");
    crate::environments::environments(target.join("tmp").to_str().unwrap())
}

/// A program beside the test executables.
fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().find(|directory| directory.join("deps").is_dir()).unwrap();
    let program = profile.join("tercel");
    assert!(program.is_file(), "{program:?} is not there: `make test` builds it and runs the tests");
    program
}
