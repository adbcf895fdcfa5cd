//! The server with a tool that does nothing, in Rust: what a tool in another process is compared with.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tercel::config::{Config, Environment};
use tercel_sdk::{Host, Integration, writes};

/// Says it again.
#[derive(Deserialize, JsonSchema)]
struct Echo {
    text: String,
}

async fn echo(_: Host, arguments: Echo) -> tercel_sdk::Result<Value> {
    Ok(json!({"text": arguments.text, "word": "first"}))
}

/// What the process does that [`crate::server::Place::with_native_tool`] starts.
pub async fn serve() -> Result<()> {
    let integration = Integration::new("bench").tool("bench_echo", writes(echo));
    tercel::serve::serve(Config::from(Environment::read()?)?, vec![integration]).await
}
