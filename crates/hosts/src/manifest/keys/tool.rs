//! Tools that agents call.

use super::{
    action::{Pages, action},
    place::{At, Entries},
    text::{Expr, Json},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

action! {
    /// A tool that agents call. Without a request it is the code's.
    pub struct Tool {
        /// It begins with the integration's name: `forge_search`.
        pub name: At<String>,
        /// What the model reads about it.
        pub description: String,
        /// What calling it changes; a write unless it says otherwise.
        pub effect: Option<Effect>,
        /// A repetition does no harm, though it is not a read.
        #[serde(default)]
        pub idempotent: bool,
        /// JSON Schema of each argument. One without a default is required.
        #[serde(default)]
        pub args: Entries<At<Value>>,
        /// The list in the answer.
        pub items: Option<Expr>,
        pub pages: Option<Pages>,
        /// What is taken of each item: `{title: "{{ item.name }}"}`; all of it without this.
        pub item: Option<Entries<Json>>,
        /// What the model reads of the answer.
        pub result: Option<Expr>,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Nothing: it may be repeated, and is allowed in runs that strangers' text began.
    Read,
    Write,
    /// Something is gone afterwards: always asked for.
    Destroy,
}
