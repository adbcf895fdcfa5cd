use super::*;
use crate::{Root, RootKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(world.path("r/crm")).unwrap();
        world
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path("r/crm").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn folder(&self) -> Folder {
        let root = Root { path: self.path("r"), kind: RootKind::Operator };
        Folder { id: "crm".into(), path: self.path("r/crm"), root, shape: Shape::Folder }
    }

    fn take(&self, previous: Option<&str>) -> Snapshot {
        take(&self.path("folders"), &self.folder(), previous).unwrap()
    }
}

#[test]
fn a_copy_has_what_is_code_and_cannot_be_written() {
    let world = World::new();
    world.write("router.py", "router");
    world.write("tools/a.py", "a");
    world.write("__pycache__/a.pyc", "bytecode");
    world.write(".git/HEAD", "hidden");
    world.write("venv/pyvenv.cfg", "home");
    world.write("venv/lib/x.py", "package");
    let copy = world.take(None);
    let mut files: Vec<String> = Vec::new();
    let mut directories = vec![copy.code.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                false => files.push(path.strip_prefix(&copy.code).unwrap().display().to_string()),
            }
        }
    }
    files.sort();
    assert_eq!(files, ["router.py", "tools/a.py"]);
    assert_eq!(fs::metadata(copy.code.join("router.py")).unwrap().permissions().mode() & 0o222, 0);
    assert_eq!(copy.code, copy.directory.join("integrations/crm"));
}

#[test]
fn bytecode_without_its_source_is_left_out_with_a_reason() {
    let world = World::new();
    world.write("tools/a.pyc", "bytecode");
    world.write("tools/__pycache__/b.pyc", "bytecode");
    let problems: Vec<String> = world.take(None).problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["tools/a.pyc: is bytecode, which is not run, and was left out"]);
}

#[test]
fn a_state_has_one_hash_and_every_change_another() {
    let world = World::new();
    world.write("router.py", "one");
    let first = world.take(None);
    assert_eq!(world.take(None), first);
    world.write("router.py", "two");
    let second = world.take(None);
    world.write("more.py", "");
    let third = world.take(None);
    fs::set_permissions(world.path("r/crm/more.py"), fs::Permissions::from_mode(0o755)).unwrap();
    let fourth = world.take(None);
    let hashes = BTreeSet::from([first.hash, second.hash, third.hash, fourth.hash]);
    assert_eq!(hashes.len(), 4);
}

#[test]
fn a_copy_that_was_cut_or_changed_is_made_anew() {
    let world = World::new();
    world.write("router.py", "whole");
    let copy = world.take(None);
    let file = copy.code.join("router.py");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "who").unwrap();
    assert_eq!(world.take(None).hash, copy.hash);
    assert_eq!(fs::read_to_string(file).unwrap(), "whole");
}

#[test]
fn links_and_what_is_no_file_are_left_out_with_a_reason() {
    let world = World::new();
    world.write("router.py", "router");
    fs::write(world.path("secret"), "secret").unwrap();
    for (to, name) in
        [("../../secret", "up"), ("/etc/hostname", "away"), ("nowhere", "lost"), ("loop", "loop"), ("..", "parent")]
    {
        symlink(to, world.path("r/crm").join(name)).unwrap();
    }
    symlink("router.py", world.path("r/crm/inside.py")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.path("r/crm/socket")).unwrap();
    let copy = world.take(None);
    let mut left: Vec<&str> = copy.problems.iter().map(|problem| problem.file.as_str()).collect();
    left.sort_unstable();
    assert_eq!(left, ["away", "loop", "lost", "parent", "socket", "up"]);
    assert_eq!(fs::read_to_string(copy.code.join("inside.py")).unwrap(), "router");
    assert!(!fs::symlink_metadata(copy.code.join("inside.py")).unwrap().is_symlink());
}

#[test]
fn a_folder_that_is_too_large_is_refused_with_the_file_that_was_too_much() {
    let world = World::new();
    let file = fs::File::create(world.path("r/crm/model.bin")).unwrap();
    file.set_len(65 << 20).unwrap();
    let error = take(&world.path("folders"), &world.folder(), None).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("64 MB") && text.contains("model.bin"), "{text}");
}

#[test]
fn files_that_code_made_are_carried_over_and_its_own_are_not() {
    let world = World::new();
    world.write("a.py", "one");
    let first = world.take(None);
    fs::write(first.code.join("made.db"), "data").unwrap();
    fs::create_dir(first.code.join("cache")).unwrap();
    fs::write(first.code.join("cache/x"), "x").unwrap();
    symlink("/etc/hostname", first.code.join("link")).unwrap();
    fs::write(first.code.join("z.pyc"), "bytecode").unwrap();
    fs::remove_file(world.path("r/crm/a.py")).unwrap();
    world.write("b.py", "two");
    let second = world.take(Some(&first.hash));
    let has = |name: &str| second.code.join(name).symlink_metadata().is_ok();
    let there: Vec<&str> =
        ["a.py", "b.py", "made.db", "cache/x", "link", "z.pyc"].into_iter().filter(|name| has(name)).collect();
    assert_eq!(there, ["b.py", "made.db", "cache/x"]);
}

#[test]
fn old_states_go_and_those_that_run_stay() {
    let world = World::new();
    world.write("a.py", "one");
    let first = world.take(None);
    world.write("a.py", "two");
    let second = world.take(None);
    let home = world.path("folders/crm");
    for name in
        [".new-x", ".old-y", &format!("{}.described.json", first.hash), &format!("{}.declared.json", second.hash)]
    {
        fs::write(home.join(name), "").unwrap();
    }
    clean(&world.path("folders"), "crm", &BTreeSet::from([second.hash.clone()])).unwrap();
    assert!(home.join(".new-x").exists(), "somebody may be writing it");
    sweep(&world.path("")).unwrap();
    let mut names: Vec<String> =
        fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected = [second.hash.clone(), format!("{}.declared.json", second.hash)];
    expected.sort();
    assert_eq!(names, expected);
}
