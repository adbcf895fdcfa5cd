//! How answers leave.

use super::{
    action::{Plain, action},
    place::{At, Entries},
    text::Expr,
    units::Span,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// How answers leave. The dispatch type is the integration's name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// What a target says beside its `type`: JSON Schema properties, whose `default` may be a template. One without a
    /// default is required.
    #[serde(default)]
    pub target: Entries<At<Value>>,
    #[serde(default)]
    pub text: PostText,
    /// What is older is not sent any more, but reported.
    pub shelf_life: Option<Span>,
    pub deliver: Deliver,
    /// How a message is posted that belongs to no run; the same as `deliver` unless given.
    pub post_message: Option<Deliver>,
    /// Looks for a post whose acknowledgement was lost.
    pub find: Option<Find>,
    /// Gives a post another text; `id` is what `deliver` found. With it, a target may say `stream: true`: its answers are
    /// shown while they are written.
    pub update: Option<Plain>,
    /// What is asked for when a run for this target begins.
    pub start: Option<Plain>,
    /// How a longer answer leaves as a file, with `text.over: file`.
    pub file: Option<Deliver>,
}

/// What a post may be like.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PostText {
    /// How long one post may be.
    #[schemars(range(min = 16))]
    pub limit: Option<At<usize>>,
    /// What the service counts for that.
    pub unit: Unit,
    /// What becomes of a longer one.
    pub over: Over,
    /// What the service takes.
    #[serde(rename = "as")]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    #[default]
    Characters,
    /// Of UTF-8.
    Bytes,
    /// As JavaScript counts: an emoji is two.
    Utf16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    #[default]
    Split,
    Cut,
    File,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Markdown,
    Plain,
    Html,
}

action! {
    /// A post.
    pub struct Deliver {
        /// The service's id of the post.
        pub id: Option<Expr>,
        /// Where people see it.
        pub url: Option<Expr>,
    }
}

action! {
    /// Looks for a post.
    pub struct Find {
        /// Whether it is there, or the post itself.
        pub found: Expr,
        /// The service's id of the post.
        pub id: Option<Expr>,
    }
}
