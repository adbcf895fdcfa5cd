//! What `tercel new --as native` makes, compiled and tested as it stands in the template.

#[path = "../../server/src/cli/new/native/mod.rs"]
mod myservice;
