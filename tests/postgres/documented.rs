//! The commands that docs/operating.md gives.

use crate::postgres;
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};
use tercel_tests::{Options, Server, tree};

#[test]
fn the_commands_of_the_guide_make_the_database_that_it_names() {
    let Some(postgres) = postgres(&[]) else { return };
    let page = fs::read_to_string(tree::root().join("docs/operating.md")).unwrap();
    let mut blocks = page.split("```sh no-run\n").map(|rest| rest.split("```").next().unwrap());
    let block = blocks.find(|block| block.starts_with("createuser")).expect("the guide says how to make a database");
    let url = url::Url::parse(&postgres.url("tercel")).unwrap();
    let (_, host) = url.query_pairs().find(|(name, _)| name == "host").unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", postgres.psql.parent().unwrap().display());
    // Without a terminal the password is read from the standard input.
    let mut shell = Command::new("setsid")
        .args(["--wait", "sh", "-ec", block])
        .envs([("PATH", &*path), ("PGHOST", &host), ("PGUSER", "postgres")])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(b"a-password\na-password\n").unwrap();
    let said = shell.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let named = postgres.url("tercel").replacen("postgres@", "tercel:a-password@", 1);
    let server = Server::start(Options::new().env("DATABASE_URL", &named));
    server.session("web:alice");
    assert_eq!(postgres.psql("tercel", "SELECT tableowner FROM pg_tables WHERE tablename = 'sessions'"), "tercel");
    assert_eq!(postgres.psql("tercel", "SELECT COUNT(*) FROM sessions"), "1");
}
