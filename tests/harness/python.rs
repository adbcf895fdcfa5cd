//! Python for tests: an environment with what folders have and pytest, which `make test` makes.

use crate::{tree::root, wait::until_within};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// The interpreter beside the directory of the test executables.
pub fn interpreter() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().find(|directory| directory.join("deps").is_dir()).and_then(Path::parent).unwrap();
    let program = target.join("python-env/bin/python");
    assert!(program.is_file(), "{program:?} is not there: `make test` makes it and runs the tests");
    program
}

/// Python as a writer of folders has it: started where `integrations/` stands, with the worker package and no server.
pub fn python(place: &Path, arguments: &[&str]) -> Said {
    let told = tempfile::tempdir().unwrap();
    let (out, log) = (told.path().join("out"), told.path().join("log"));
    let mut child = Command::new(interpreter())
        .args(["-B"])
        .args(arguments)
        .current_dir(place)
        .env_clear()
        .env("PYTHONPATH", root().join("python/src"))
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let status = until_within(Duration::from_secs(120), "Python ends", || child.try_wait().unwrap());
    let said = fs::read_to_string(out).unwrap() + &fs::read_to_string(log).unwrap();
    Said { good: status.success(), text: said }
}

/// Runs tests below a directory; how many passed, when all did.
#[track_caller]
pub fn pytest(place: &Path, what: &str) -> usize {
    let said = python(place, &["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", what]);
    assert!(said.good, "{}", said.text);
    let count = said.text.lines().rev().find_map(|line| line.split_once(" passed")?.0.rsplit(' ').next()?.parse().ok());
    count.unwrap_or_else(|| panic!("nothing was counted:\n{}", said.text))
}

pub struct Said {
    pub good: bool,
    pub text: String,
}

/// Writes files below a directory.
pub fn write(directory: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let file = directory.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}
