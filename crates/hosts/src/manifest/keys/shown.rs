//! What the interface shows of an integration.

use super::{action::action, place::At, text::Expr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Pages of its own in the side bar.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SidebarSection {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    pub items: Vec<SidebarItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness_field: Option<String>,
}

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SidebarItem {
    pub label: String,
    pub href: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
}

action! {
    /// A panel of the dashboard.
    pub struct DashboardModule {
        pub id: At<String>,
        pub label: Option<String>,
        pub icon: Option<String>,
        pub description: Option<String>,
        /// How it is drawn.
        pub panel: Option<Panel>,
        /// The path of the code that has the data.
        pub route: Option<String>,
        /// What of the answer is shown.
        pub result: Option<Expr>,
    }
}

impl DashboardModule {
    /// As the interface lists it.
    pub fn shown(&self) -> Value {
        let mut shown = json!({"id": self.id.value, "label": self.label.as_ref().unwrap_or(&self.id.value)});
        for (key, value) in [("icon", &self.icon), ("description", &self.description), ("route", &self.route)] {
            if let Some(value) = value {
                shown[key] = json!(value);
            }
        }
        if let Some(panel) = self.panel {
            shown["panel"] = json!(panel);
        }
        shown
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Panel {
    Stat,
    List,
    Table,
    Chart,
    Text,
}

/// What a channel gets that the integration is activated on.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Activation {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carapaces: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_workspace: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compatible_templates: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<serde_json::Value>,
}

/// What an integration may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Free,
    Paid,
    Premium,
}

impl Tier {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Paid => "paid",
            Self::Premium => "premium",
        }
    }
}

/// Features that it brings, with the tier that each needs.
pub type Features = BTreeMap<String, Tier>;
