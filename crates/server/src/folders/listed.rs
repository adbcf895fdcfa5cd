//! One integration in the list of all: where it comes from and how far it may be used.

use crate::{part::within, tier::Tier};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tercel_hosts::{Permissions, Problem, RootKind, Variable, Worker};
use tercel_sdk::{
    Field, Integration, Kind,
    quality::{self, Look},
};
use tokio::sync::OnceCell;

/// For a look at what an integration lacks, which asks nobody outside.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Listed {
    pub integration: Integration,
    pub standing: Standing,
    /// What it can do, also while it may not.
    pub abilities: Abilities,
    pub dispatch_types: Vec<String>,
    /// Absent for what is native.
    pub place: Option<Place>,
    pub(super) lacks: OnceCell<Vec<String>>,
}

/// Whether anything of it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Works,
    /// Switched off by the operator.
    Disabled,
    /// Its folder is gone.
    Missing,
    /// Of the workspace: nobody has approved what lies there now.
    Awaiting,
    /// What it needs is being made, such as an environment for its code.
    Preparing,
    /// Nothing of it could be loaded.
    Broken,
    /// The tier in force does not have it: which it needs, in a sentence.
    Locked(String),
}

/// Where a folder lies and what was found in it.
#[derive(Clone)]
pub struct Place {
    pub path: PathBuf,
    pub kind: RootKind,
    /// `manifest`, `python` or `worker`; blank when that is not known.
    pub way: String,
    /// Of the state that runs, or that waits for an approval.
    pub hash: String,
    pub problems: Vec<Problem>,
    pub undeclared: Vec<String>,
    /// Integrations whose code it imports: it may call their tools.
    pub imports: Vec<String>,
    pub variables: Vec<Variable>,
    pub permissions: Permissions,
    /// The folder has changed, and what it is now does not load.
    pub kept: bool,
    pub worker: Option<Arc<dyn Worker>>,
    /// What it stands in the place of: `shipped 1.5`.
    pub hides: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Abilities {
    pub router: bool,
    pub dispatcher: bool,
    pub hooks: bool,
    pub tools: bool,
    pub skills: bool,
    pub process: bool,
}

impl Abilities {
    pub fn of(integration: &Integration) -> Self {
        Self {
            router: integration.webhook.is_some() || integration.routes.is_some(),
            dispatcher: !integration.dispatchers.is_empty(),
            hooks: !integration.hooks.is_empty(),
            tools: !integration.tools.is_empty(),
            skills: !integration.skills.is_empty(),
            process: integration.process.is_some(),
        }
    }
}

/// What is kept of a folder for the time when it is gone, switched off or not approved.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Known {
    pub label: String,
    pub version: String,
    pub description: String,
    pub icon: String,
    pub tier: String,
    pub way: String,
    pub path: PathBuf,
    pub workspace: bool,
    pub fields: Vec<Field>,
    /// Answers of these types wait for it.
    pub dispatch_types: Vec<String>,
    pub prefixes: Vec<String>,
    pub webhook: Option<String>,
    pub abilities: Abilities,
}

impl Known {
    pub fn of(listed: &Listed) -> Option<Self> {
        let (place, integration) = (listed.place.as_ref()?, &listed.integration);
        Some(Self {
            label: integration.label.clone(),
            version: integration.version.clone(),
            description: integration.description.clone(),
            icon: integration.icon.clone(),
            tier: integration.tier.clone(),
            way: place.way.clone(),
            path: place.path.clone(),
            workspace: place.kind == RootKind::Workspace,
            fields: integration.fields.clone(),
            dispatch_types: listed.dispatch_types.clone(),
            prefixes: integration.prefixes.clone(),
            webhook: integration.routes.as_ref().and_then(|routes| routes.webhook.clone()),
            abilities: listed.abilities,
        })
    }

    /// What is shown in place of the integration itself: it has settings and does nothing.
    pub fn integration(&self, id: &str) -> Integration {
        let mut integration = Integration::new(id);
        integration.label = if self.label.is_empty() { id.into() } else { self.label.clone() };
        integration.version = self.version.clone();
        integration.description = self.description.clone();
        if !self.icon.is_empty() {
            integration.icon = self.icon.clone();
        }
        if !self.tier.is_empty() {
            integration.tier = self.tier.clone();
        }
        integration.fields = self.fields.clone();
        integration.prefixes = self.prefixes.clone();
        integration
    }
}

impl Listed {
    pub fn native(integration: Integration, disabled: bool) -> Self {
        let abilities = Abilities::of(&integration);
        let standing = if disabled { Standing::Disabled } else { Standing::Works };
        let dispatch_types = integration.dispatchers.keys().cloned().collect();
        Self { integration, standing, abilities, dispatch_types, place: None, lacks: OnceCell::new() }
    }

    /// What a good integration has and it lacks: looked at when somebody asks first. Of what runs in a process of its own no
    /// part is called for that.
    pub async fn lacks(&self) -> Vec<String> {
        if !self.works() {
            return Vec::new();
        }
        let look = match &self.place {
            Some(place) if place.way != "manifest" => Look::AtWhatItSays,
            _ => Look::AtParts,
        };
        let integration = self.integration.clone();
        let looked = async {
            let what = format!("A look at the parts of `{}`", integration.name);
            let looked =
                within(PATIENCE, &what, Kind::Timeout, async move { Ok(quality::lacks(&integration, look).await) });
            looked.await.unwrap_or_else(|error| vec![format!("parts that can be looked at: {}", error.message)])
        };
        self.lacks.get_or_init(|| looked).await.clone()
    }

    /// The same under a tier that may not have it. What is kept of it stays, and nothing of it is called.
    pub fn under(self, tier: Tier) -> Self {
        let refusal = tier.refusal(&format!("`{}`", self.integration.name), &self.integration.tier);
        match (&self.standing, refusal) {
            (Standing::Works, Some(why)) => Self { standing: Standing::Locked(why), ..self },
            _ => self,
        }
    }

    pub fn works(&self) -> bool {
        self.standing == Standing::Works
    }

    pub fn is_locked(&self) -> bool {
        matches!(self.standing, Standing::Locked(_))
    }

    /// Why a call of it is not possible now, for whoever calls.
    pub fn obstacle(&self) -> Option<String> {
        let name = &self.integration.name;
        match self.standing {
            Standing::Works => None,
            Standing::Locked(ref why) => Some(why.clone()),
            Standing::Disabled => Some(format!("`{name}` is switched off")),
            Standing::Missing => Some(format!("`{name}` is missing: its folder is gone")),
            Standing::Awaiting => Some(format!("`{name}` waits for an approval")),
            Standing::Preparing | Standing::Broken => {
                let worker = self.place.as_ref().and_then(|place| place.worker.as_ref());
                let why = worker.and_then(|worker| worker.state().reason).map(|why| format!(": {why}"));
                let what = if self.standing == Standing::Broken { "could not be loaded" } else { "is being prepared" };
                Some(format!("`{name}` {what}{}", why.unwrap_or_default()))
            }
        }
    }

    /// The first of its problems, and how many more there are.
    pub fn problem(&self) -> Option<String> {
        let place = self.place.as_ref()?;
        let first = place.problems.first()?;
        let more = match place.problems.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        let kept = if place.kept { "; what was loaded before goes on" } else { "" };
        Some(format!("{first}{more}{kept}"))
    }

    pub fn is_of_workspace(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.kind == RootKind::Workspace)
    }

    /// Whether what it does is done in a process of its own.
    pub fn is_code(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.way != "manifest")
    }

    pub fn source(&self) -> &'static str {
        match self.place.as_ref().map(|place| place.kind) {
            None | Some(RootKind::Shipped) => "shipped",
            Some(RootKind::Operator) => "operator",
            Some(RootKind::Workspace) => "workspace",
        }
    }

    pub fn way(&self) -> &str {
        self.place.as_ref().map_or("native", |place| &place.way)
    }

    /// Without what it does, when it may do nothing.
    pub fn usable(&self) -> Integration {
        if self.works() {
            return self.integration.clone();
        }
        let Integration { name, version, label, description, icon, tier, fields, readme, prefixes, .. } =
            self.integration.clone();
        Integration { version, label, description, icon, tier, fields, readme, prefixes, ..Integration::new(&name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tier_does_not_have_does_nothing_and_says_what_it_needs() {
        let listed = || Listed::native(Integration::new("forge").tier("paid"), false);
        let under = |tier: &str| listed().under(Tier::named(tier).unwrap());
        assert!(under("paid").works() && under("free").is_locked());
        let told = "`forge` needs the tier paid; the tier in force is free (TERCEL_TIER)";
        assert_eq!(under("free").obstacle().as_deref(), Some(told));
        let off = Listed::native(Integration::new("forge").tier("paid"), true).under(Tier::named("free").unwrap());
        assert_eq!(off.obstacle().as_deref(), Some("`forge` is switched off"), "what it is first");
    }

    #[test]
    fn what_may_do_nothing_keeps_its_settings_and_loses_its_parts() {
        let integration = Integration::new("forge")
            .label("Forge")
            .field(Field::password("token", "Token"))
            .tool("forge_look", tercel_sdk::reads(|_: tercel_sdk::Host, (): ()| async { Ok(()) }));
        let listed = Listed::native(integration, true);
        let left = listed.usable();
        assert_eq!((left.tools.len(), left.fields.len(), left.label.as_str()), (0, 1, "Forge"));
        assert!(listed.abilities.tools, "the card still says what it can do");
        assert_eq!(listed.obstacle().as_deref(), Some("`forge` is switched off"));
    }
}
