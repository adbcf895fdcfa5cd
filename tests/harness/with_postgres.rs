//! Runs a command with a PostgreSQL that ends with it, so that not every test program starts one of its own.

use std::process::{Command, ExitCode};
use tercel_tests::postgres::{FAST, Postgres};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let program = words.next().expect("with-postgres COMMAND [ARGUMENT ...]");
    let mut command = Command::new(&program);
    command.args(words);
    let named = std::env::var_os("TEST_DATABASE_URL").is_some_and(|url| !url.is_empty());
    let server = (!named).then(|| Postgres::start(&FAST));
    if let Some(server) = &server {
        command.env("TEST_DATABASE_URL", server.url("postgres"));
    }
    let status = command.status().unwrap_or_else(|error| panic!("{program:?} cannot be run: {error}"));
    drop(server);
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}
