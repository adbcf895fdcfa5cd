//! An installed program brings all that it needs but Python.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};
use tercel_tests::{Options, fetching, tree::root};

/// The file has these bytes somewhere.
fn holds(file: &Path, wanted: &[u8]) -> bool {
    let bytes = fs::read(file).unwrap();
    bytes.windows(wanted.len()).any(|window| window[0] == wanted[0] && window == wanted)
}

#[test]
fn a_copy_of_the_program_rehearses_a_folder_where_there_is_nothing_else() {
    let options = Options::new().with_python();
    let program = options.place().join("copy/tercel");
    fs::create_dir(program.parent().unwrap()).unwrap();
    fs::copy(options.command(&[]).get_program(), &program).unwrap();
    // Nothing of the checkout is read: the package is in the file.
    let source = fs::read(root().join("python/src/tercel_worker/serve.py")).unwrap();
    assert!(holds(&program, &source), "the Python package is not in the program");

    let empty = options.place().join("empty");
    fs::create_dir(&empty).unwrap();
    let bin = options.place().join("bin");
    fs::create_dir(&bin).unwrap();
    let asked = ["-c", "import os, sys; print(os.path.realpath(sys.executable))"];
    let python = Command::new("python3").args(asked).output().unwrap().stdout;
    let python = String::from_utf8(python).unwrap();
    symlink(python.trim(), bin.join("python3")).unwrap();
    let said = Command::new(&program)
        .args(["rehearse", "example", "--event", "ingest", "--json"])
        .current_dir(&empty)
        .env_clear()
        .envs(fetching())
        .env("HOME", options.place().join("home"))
        .env("PATH", &bin)
        .output()
        .unwrap();
    let (out, log) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && out.contains("\"id\""), "{out}\n{log}");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "it leaves nothing where it was started");
}

#[test]
fn tests_of_folders_find_the_package_that_is_in_the_program() {
    let options = Options::new();
    let said = options.run(&["check", "--python-path"]).ok();
    let modules = Path::new(said.trim());
    assert!(modules.starts_with(options.place().join("home")), "{said}");
    for (path, text) in tercel_tests::tree::sources("python/src", &[".py"]).iter().map(|file| (&file.path, &file.text))
    {
        let below = Path::new(path).strip_prefix("python/src").unwrap();
        assert_eq!(fs::read_to_string(modules.join(below)).unwrap(), *text, "{path}");
    }
    assert!(!options.data_directory().exists(), "nothing is made where it was started");
}
