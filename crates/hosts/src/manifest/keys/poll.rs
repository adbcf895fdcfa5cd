//! Asking a service what is new.

use super::{
    action::{Pages, action},
    place::At,
    text::Expr,
    units::Span,
};
use schemars::JsonSchema;
use serde::Deserialize;

action! {
    /// A service that is asked what is new, again and again.
    pub struct Poll {
        /// What `from` of an event calls it.
        pub name: At<String>,
        pub every: Span,
        pub items: Expr,
        /// What the service knows an item by: the same within 30 days is the same.
        pub id: Expr,
        /// How far it has read, for the next time; null keeps what there was.
        pub cursor: Option<Expr>,
        /// What becomes of what is there at the first time.
        #[serde(default)]
        pub first: First,
        /// Which end of the list is the newest.
        #[serde(default)]
        pub newest: Newest,
        pub pages: Option<Pages>,
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum First {
    /// It is passed over.
    #[default]
    Skip,
    /// It is news like any other.
    Take,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Newest {
    First,
    #[default]
    Last,
}
