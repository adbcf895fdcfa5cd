//! What a person who writes an integration types: `new`, `check`, `rehearse`.

mod checking;
mod installed;
mod making;
mod rehearsing;
mod worlds;

use std::path::PathBuf;
use tercel_tests::Options;

/// A folder where the program looks for one.
fn folder(options: &Options, name: &str) -> PathBuf {
    options.place().join("integrations").join(name)
}
