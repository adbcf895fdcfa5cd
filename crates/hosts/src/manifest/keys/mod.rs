//! The keys of a manifest. Every object is closed: what is not known is an error that names what may be meant.

mod action;
mod code;
mod dispatch;
mod event;
mod explain;
mod field;
mod hook;
mod http;
mod place;
mod poll;
#[cfg(test)]
pub mod schema;
mod shown;
mod sync;
mod text;
mod tool;
mod units;
mod webhook;

pub use action::{Before, Depth, Pages, Request, Test};
pub use code::{PermissionKeys, Process, Worker};
pub use dispatch::{Deliver, Dispatch, Find, Format, Over, Unit};
pub use event::{Event, Run};
pub use explain::{explain, nearest, problem};
pub use field::{Field, FieldKind};
pub use hook::Hook;
pub use http::{Auth, Flow, Http, Oauth2, Otherwise, Per, Send};
pub use place::{At, Entries};
pub use poll::{First, Newest, Poll};
pub use shown::{Activation, DashboardModule, Features, SidebarSection, Tier};
pub use sync::{Located, Sync, Upsert};
pub use text::{Expr, Json, Text};
pub use tool::{Effect, Tool};
pub use units::oldest;
pub use webhook::{Algorithm, Body, Dedupe, Encoding, Hmac, Missed, Verify, Webhook};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// An integration of Tercel.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "integration.yaml")]
pub struct Keys {
    /// The version of this format.
    #[schemars(range(min = 1, max = 1))]
    pub schema: At<u32>,
    /// The same as the folder's.
    #[schemars(regex(pattern = "^[a-z][a-z0-9_]{0,63}$"))]
    pub name: At<String>,
    pub version: Option<String>,
    /// The oldest server that will do: `>=0.3`.
    pub tercel: Option<At<String>>,
    pub label: Option<String>,
    #[serde(default)]
    pub description: String,
    /// A name of lucide's, or `icon.svg` beside this file.
    pub icon: Option<String>,
    pub tier: Option<Tier>,
    #[serde(default)]
    pub features: Features,
    #[serde(default)]
    pub fields: Vec<Field>,
    #[serde(default)]
    pub http: Http,
    pub test: Option<Test>,
    pub dispatch: Option<Dispatch>,
    #[serde(default)]
    pub tools: Vec<Tool>,
    pub webhook: Option<Webhook>,
    #[serde(default)]
    pub events: Vec<Event>,
    #[serde(default)]
    pub poll: Vec<Poll>,
    pub sync: Option<Sync>,
    /// What is asked for when something happens in runs.
    #[serde(default)]
    pub hooks: Vec<Hook>,
    pub worker: Option<Worker>,
    pub process: Option<Process>,
    #[serde(default)]
    pub permissions: PermissionKeys,
    pub sidebar_section: Option<SidebarSection>,
    #[serde(default)]
    pub dashboard_modules: Vec<DashboardModule>,
    pub activation: Option<Activation>,
    /// How a channel is bound to a place of the service.
    #[expect(dead_code, reason = "for the reader of the file")]
    pub binding: Option<Value>,
    /// What is read of records: other names in a mapping are wrong.
    #[serde(default)]
    pub record_fields: Vec<String>,
}

/// Reads the text of a manifest.
///
/// # Errors
/// With line and column.
pub fn read(text: &str) -> Result<Keys, crate::Problem> {
    // `on` and `yes` are words, as in YAML 1.2 and in JSON.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(&error))
}
