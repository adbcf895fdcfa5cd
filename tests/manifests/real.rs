//! Real servers that tests send to, each with a directory of its own, ended with the test.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tercel_tests::{tree::root, until};

/// A server that is written in Python.
pub struct Real {
    place: tempfile::TempDir,
    process: Child,
    port: u16,
    /// What else it said when it was ready.
    pub said: String,
}

/// Where `make test` puts what it fetches.
pub fn target() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let debug = own.ancestors().find(|directory| directory.join("deps").is_dir()).unwrap();
    debug.parent().map(Path::to_owned).unwrap()
}

impl Real {
    /// `servers/<name>.py`, which is given the directory and what follows.
    pub fn start(name: &str, place: tempfile::TempDir, arguments: &[&str]) -> Self {
        let python = target().join("servers/bin/python");
        assert!(python.is_file(), "{python:?} is not there: `make test` installs it and runs the tests");
        let log = File::create(place.path().join("log")).unwrap();
        let mut command = Command::new(python);
        command.arg("-B").arg(root().join("tests/manifests/servers").join(format!("{name}.py")));
        command.arg(place.path()).args(arguments).env_clear().env("HOME", place.path());
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines.map_while(Result::ok).find(|line| line.starts_with("ready "));
        let log = || std::fs::read_to_string(place.path().join("log")).unwrap();
        let ready = ready.unwrap_or_else(|| panic!("{name} did not start: {}", log()));
        let mut words = ready.split(' ').skip(1);
        let port = words.next().unwrap().parse().unwrap();
        until("it listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        let said = words.next().unwrap_or_default().to_owned();
        Self { place, process, port, said }
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
