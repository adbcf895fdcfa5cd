//! What the code of a folder may do with its key: act as its integration, and nothing more.

use super::{Folder, SCOPES};
use crate::{api::Scopes, app::App, catalog::Catalog, inject};
use tercel_hosts::RootKind;
use tercel_sdk::{Brief, Effect, Target};
use tercel_store::{Session, Task, Uuid};

/// Why something is not its to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub String);

type Allowed = Result<(), Refused>;

fn unless(allowed: bool, words: impl FnOnce() -> String) -> Allowed {
    if allowed { Ok(()) } else { Err(Refused(words())) }
}

/// What is left of the scopes of every folder where one declares which it wants.
pub fn granted(wanted: &[String]) -> Scopes {
    let all = Scopes::from(SCOPES);
    if wanted.is_empty() {
        return all;
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).filter(|scope| all.allow(scope)).collect();
    Scopes::from(wanted.join(" ").as_str())
}

impl Folder {
    pub fn scopes(&self, catalog: &Catalog) -> Scopes {
        let place = catalog.integrations.get(&self.integration).and_then(|entry| entry.listed.place.as_ref());
        granted(place.map_or(&[][..], |place| &place.permissions.api[..]))
    }

    /// Whether a place belongs to its integration.
    fn owns(&self, catalog: &Catalog, client_id: &str) -> bool {
        catalog.owner(client_id) == Some(&self.integration)
    }

    /// Whether a channel is its own, or bound to a place that is.
    pub fn has_channel(&self, catalog: &Catalog, id: Uuid) -> bool {
        let own = catalog.channel(id).is_some_and(|channel| self.owns(catalog, &channel.client_id));
        let bindings = || catalog.bindings.values().flatten().filter(|binding| binding.channel_id == id);
        own || bindings().any(|binding| self.owns(catalog, &binding.client_id))
    }

    /// A session of a place that may be there already.
    pub fn may_open(&self, catalog: &Catalog, client_id: &str, there: Option<&Session>) -> Allowed {
        match there {
            Some(session) => self.may_use(catalog, session),
            None => unless(self.kind != RootKind::Workspace || self.owns(catalog, client_id), || {
                let own = &self.integration;
                format!("client_id: `{own}` is a folder of the workspace; its places begin with `{own}:`")
            }),
        }
    }

    /// It made the session, or the session is of a place of its own.
    pub fn may_use(&self, catalog: &Catalog, session: &Session) -> Allowed {
        let made = session.opened_by.as_deref() == Some(&self.integration);
        let own = || self.owns(catalog, &session.client_id);
        let bound = || session.channel_id.is_some_and(|channel| self.has_channel(catalog, channel));
        unless(made || own() || bound(), || {
            format!(
                "The session {} is not one of `{}`: it did not open it, and its place is another's",
                session.id, self.integration
            )
        })
    }

    /// A run that it started, or one in a session that it may use.
    pub fn may_see(&self, catalog: &Catalog, task: &Task, session: Option<&Session>) -> Allowed {
        let own = task.origin == self.integration;
        unless(own || session.is_some_and(|session| self.may_use(catalog, session).is_ok()), || {
            format!("The task {} is not one of `{}`", task.id, self.integration)
        })
    }

    pub fn may_send(&self, catalog: &Catalog, target: &Target) -> Allowed {
        let is_own =
            || catalog.dispatchers.get(&target.kind).is_some_and(|owned| owned.integration == self.integration);
        unless(self.kind != RootKind::Workspace || target.kind == "none" || is_own(), || {
            format!(
                "dispatch_type: a folder of the workspace sends by its own types and `none`, not by `{}`",
                target.kind
            )
        })
    }

    pub fn may_call(&self, catalog: &Catalog, tool: &str) -> Allowed {
        match catalog.tools.get(tool) {
            Some(owned)
                if owned.integration != self.integration && !self.is_permitted(catalog, tool, &owned.integration) =>
            {
                let words = format!(
                    "`{tool}` is a tool of `{0}`; `permissions.tools` of `{1}` does not name it, and its code does not import `integrations.{0}`",
                    owned.integration, self.integration
                );
                Err(Refused(words))
            }
            _ => Ok(()),
        }
    }

    fn is_permitted(&self, catalog: &Catalog, tool: &str, owner: &str) -> bool {
        let entry = catalog.integrations.get(&self.integration);
        let Some(place) = entry.and_then(|entry| entry.listed.place.as_ref()) else { return false };
        place.permissions.tools.iter().any(|permitted| permitted == tool)
            || place.imports.iter().any(|imported| imported == owner)
    }

    /// What it wants for a run. What is not there is reported on the task. A folder of the operator's may name what others
    /// have to be read: their skills, and their tools that read.
    pub fn may_ask_for(&self, catalog: &Catalog, brief: &Brief) -> Allowed {
        let is_operators = self.kind != RootKind::Workspace;
        let reads = |tool: &str| {
            catalog.tools.get(tool).is_some_and(|owned| owned.tool.declared && owned.tool.effect == Effect::Read)
        };
        for tool in &brief.tools {
            unless(tool != "*", || "execution_config.tools: `*` is not a folder's to give; name the tools".into())?;
            if is_operators && reads(tool) {
                continue;
            }
            self.may_call(catalog, tool)
                .map_err(|Refused(words)| Refused(format!("execution_config.tools: {words}")))?;
        }
        for skill in &brief.skills {
            let of_another = skill.strip_prefix("integrations/").and_then(|rest| rest.split('/').next());
            unless(is_operators || of_another.is_none_or(|name| name == self.integration), || {
                format!("execution_config.skills: `{skill}` is not one of `{}`", self.integration)
            })?;
        }
        Ok(())
    }

    /// The `integration_id` of a document: its own, which it need not say.
    pub fn own_documents(&self, wanted: Option<String>) -> Result<Option<String>, Refused> {
        match wanted {
            Some(other) if other != self.integration => {
                Err(Refused(format!("integration_id: the documents of `{}` are its own", self.integration)))
            }
            _ => Ok(Some(self.integration.clone())),
        }
    }

    /// Whether a message may be sent like this; it is marked as the folder's. Whoever wrote what code passes on, it was
    /// not the operator.
    pub fn check(&self, app: &App, input: &mut inject::Input) -> Allowed {
        let catalog = app.catalog();
        input.target.iter().try_for_each(|target| self.may_send(&catalog, target))?;
        input.brief.iter().try_for_each(|brief| self.may_ask_for(&catalog, brief))?;
        input.source.get_or_insert_with(|| self.integration.clone());
        input.origin = Some(self.integration.clone());
        input.trusted = false;
        Ok(())
    }
}
