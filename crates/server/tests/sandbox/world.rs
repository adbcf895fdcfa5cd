//! A data directory, and a Python that is confined in it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;
use tercel_hosts::sandbox::{self, Command, Interpreter, Policy, Running, Sandbox};
use tokio::{io::AsyncReadExt, sync::OnceCell, time::timeout};

pub struct World {
    place: TempDir,
    pub sandbox: Arc<Sandbox>,
    pub python: Interpreter,
}

#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

pub async fn world() -> World {
    static PYTHON: OnceCell<Interpreter> = OnceCell::const_new();
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let data = place.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o711)).unwrap();
    let sandbox = Sandbox::open(env!("CARGO_BIN_EXE_tercel"), &data);
    let python = PYTHON.get_or_try_init(|| sandbox::python(&sandbox, "")).await.unwrap().clone();
    World { place, sandbox, python }
}

impl World {
    pub fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    pub fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.data().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Closed, for each user that processes can have here: their own where the server is root, and the server's.
    pub fn policies(&self) -> Vec<Policy> {
        let identity = self.sandbox.identity("tried").unwrap().filter(|_| self.python.for_users);
        if identity.is_none() {
            let why = self.sandbox.abilities().no_users.as_deref().unwrap_or("no Python that all users can run");
            println!("skipped for a user of its own: {why}");
        }
        let mut policies = vec![self.closed(None)];
        policies.extend(identity.map(|identity| self.closed(Some(identity))));
        policies
    }

    fn closed(&self, identity: Option<sandbox::Identity>) -> Policy {
        let mut policy = Policy::closed(identity);
        policy.readable.clone_from(&self.python.prefixes);
        policy
    }

    pub fn command(&self, policy: &Policy, code: &str) -> Command {
        let program = self.python.program.to_string_lossy();
        self.sandbox.command(program, policy.clone()).args(["-I", "-S", "-c", code])
    }

    pub async fn start(&self, policy: &Policy, code: &str) -> Running {
        self.command(policy, code).spawn().await.unwrap()
    }

    pub async fn run(&self, policy: &Policy, code: &str) -> Ended {
        ended(self.start(policy, code).await).await
    }

    /// Runs lines of which each says what it came to, and answers what they said.
    pub async fn tried(&self, policy: &Policy, code: &str) -> Vec<String> {
        let prelude = "import ctypes, errno, os, socket, sys
def tried(name, what):
    try:
        result = what()
        print(name, 'done' if result is None else result)
    except OSError as error:
        print(name, errno.errorcode[error.errno])
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), '')
";
        let ended = self.run(policy, &format!("{prelude}{code}")).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.output.lines().map(Into::into).collect()
    }
}

pub async fn ended(mut running: Running) -> Ended {
    let (mut output, mut errors) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (running.stdout.take().unwrap(), running.stderr.take().unwrap());
    let all = async {
        let (out, err, status) =
            tokio::join!(stdout.read_to_string(&mut output), stderr.read_to_string(&mut errors), running.wait());
        out.unwrap();
        err.unwrap();
        status.unwrap().code()
    };
    let code = timeout(Duration::from_secs(60), all).await.expect("it ends within a minute");
    Ended { code, output, errors }
}

/// The text as Python writes it.
pub fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().unwrap())
}
