//! A linker for the server: what a start needs lies side by side in the program. Linux maps the 64 KiB around each piece of
//! code that runs, and the five thousand functions of a start are spread over all of it otherwise.
//!
//! Cargo calls this in place of `cc`, for every program. The server is linked, started once to see which functions it calls,
//! and linked again in their order. Where it cannot be seen, the program is what `cc` alone would have made. What came of
//! it stands in `tercel.link`, beside the program: what a linker says is not shown.
//!
//! Where the loader can read them so, the places that it fills in are packed, too: two megabytes become thirty kilobytes.

#[cfg(target_arch = "x86_64")]
mod start;

use anyhow::{Context, Result, bail};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// Symbols are needed to see, and not afterwards.
const STRIPS: [&str; 2] = ["-Wl,--strip-all", "-Wl,--strip-debug"];

fn main() -> Result<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let output = arguments.iter().position(|argument| argument == "-o").and_then(|at| arguments.get(at + 1));
    if let Some(output) = output.map(PathBuf::from).filter(|output| is_server(output) && links_in_order(&arguments)) {
        match order(&arguments, &output) {
            Ok(count) => {
                tell(&output, &format!("The server is linked in the order of a start, which calls {count} functions"))?;
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) => {
                tell(&output, &format!("The server is linked in no order, and takes more memory at rest: {error:#}"))?;
            }
        }
    }
    let status = link(&arguments)?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// `target/release/tercel.link` for `target/release/deps/tercel-<number>`
fn tell(output: &Path, words: &str) -> Result<()> {
    let place = output.ancestors().nth(2).context("the program is in no directory of Cargo's")?;
    fs::write(place.join("tercel.link"), format!("{words}\n")).context("what came of it cannot be noted")
}

/// `tercel-` and the number that Cargo gives it.
fn is_server(output: &Path) -> bool {
    let name = output.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix("tercel-")
        .is_some_and(|number| number.len() == 16 && number.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether it is `lld`: others call the option otherwise, or have none.
fn links_in_order(arguments: &[OsString]) -> bool {
    arguments.iter().any(|argument| argument == "-fuse-ld=lld")
}

/// Answers how many functions were put in order.
fn order(arguments: &[OsString], output: &Path) -> Result<usize> {
    let mut arguments = arguments.to_vec();
    if reads_packed() {
        arguments.push("-Wl,-z,pack-relative-relocs".into());
    }
    let with_symbols: Vec<OsString> =
        arguments.iter().filter(|argument| !STRIPS.iter().any(|strip| argument == strip)).cloned().collect();
    let status = link(&with_symbols)?;
    if !status.success() {
        bail!("the linker ended with {status}");
    }
    let names = functions_of_a_start(output)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("order");
    fs::write(&file, names.join("\n"))?;
    let mut ordered = arguments;
    ordered.push(format!("-Wl,--symbol-ordering-file={}", file.display()).into());
    ordered.push("-Wl,--no-warn-symbol-ordering".into());
    let status = link(&ordered)?;
    if !status.success() {
        bail!("the linker ended with {status}");
    }
    Ok(names.len())
}

/// Whether the loader of this machine knows `DT_RELR`: that of glibc does since 2.36.
fn reads_packed() -> bool {
    let Ok(said) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    version
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .is_some_and(|version: (u32, u32)| version >= (2, 36))
}

fn link(arguments: &[OsString]) -> Result<std::process::ExitStatus> {
    Command::new("cc").args(arguments).status().context("`cc` cannot be started")
}

#[cfg(target_arch = "x86_64")]
fn functions_of_a_start(program: &Path) -> Result<Vec<String>> {
    start::functions(program)
}

#[cfg(not(target_arch = "x86_64"))]
fn functions_of_a_start(_: &Path) -> Result<Vec<String>> {
    bail!("what it calls can be seen on x86-64 only")
}
