//! What is asked for when something happens in a run.

use super::{action::action, place::At, text::Expr};
use schemars::JsonSchema;
use serde::Deserialize;
use tercel_sdk::hook::Watches;

action! {
    /// A request that is made when something happens in a run. What comes of it changes no run.
    pub struct Hook {
        /// What happens: `after_tool_call`.
        pub on: At<String>,
        /// Whether it is made; without this it always is.
        pub when: Option<Expr>,
        /// In which runs.
        #[serde(default)]
        pub runs: Runs,
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Runs {
    /// Those that have to do with the integration: it began them, or their answers leave by it.
    #[default]
    Own,
    All,
}

impl From<Runs> for Watches {
    fn from(runs: Runs) -> Self {
        match runs {
            Runs::Own => Self::Stake,
            Runs::All => Self::All,
        }
    }
}
