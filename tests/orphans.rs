//! The PostgreSQL that tests bring ends with them, however they end.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};
use tercel_tests::{Engine, until};

/// Runs a command that says where its PostgreSQL is, and then waits until it is killed.
fn started() -> (std::process::Child, PathBuf) {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new(env!("CARGO_BIN_EXE_with-postgres"))
        .args(["sh", "-c", "echo \"$TEST_DATABASE_URL\"; exec cat"])
        .env_remove("TEST_DATABASE_URL")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    let place = PathBuf::from(url.trim_end().split_once("host=").unwrap().1);
    assert!(place.join("data/postmaster.pid").is_file());
    (child, place)
}

#[test]
fn nothing_is_left_of_it_when_the_tests_are_killed() {
    if !Engine::Postgres.is_tested() {
        return;
    }
    let (mut child, place) = started();
    child.kill().unwrap();
    child.wait().unwrap();
    until("its files are gone, and it before them", || (!place.exists()).then_some(()));
}

#[test]
fn nothing_is_left_of_it_when_a_command_ends_and_its_status_is_passed_on() {
    if !Engine::Postgres.is_tested() {
        return;
    }
    let (mut child, place) = started();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(!place.exists());
    let failed = Command::new(env!("CARGO_BIN_EXE_with-postgres")).args(["sh", "-c", "exit 3"]).status().unwrap();
    assert_eq!(failed.code(), Some(3));
}
