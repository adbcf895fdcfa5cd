//! The two documents that folders are written for keep their word: each of their examples is executed as it is printed.
//!
//! The documents are not part of this repository. They are read from `../shared/seeds` beside the checkout, or from the
//! directory that `TERCEL_SEEDS` names; where that is not there, nothing is tested and that is said.

mod connectors;
mod examples;
mod folders;
mod plain;
mod requests;
mod table;
