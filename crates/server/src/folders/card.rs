//! What is shown of a folder, whether it runs or not.

use super::{
    Folders, State,
    listed::{Abilities, Known, Listed, Place, Standing},
};
use tercel_hosts::{Folder, Loaded, Permissions, RootKind, Way};
use tercel_sdk::Integration;
use tokio::sync::OnceCell;

/// A folder that lies where it is looked for.
pub(super) fn of_folder(folders: &Folders, state: &State, folder: &Folder) -> Listed {
    let id = &folder.id;
    let hides = state.found.hidden.iter().find(|hidden| &hidden.id == id).map(ToString::to_string);
    let known = folders.said.known(id).unwrap_or_default();
    if let Some(loaded) = state.loaded.get(id) {
        return of_loaded(loaded, known, hides);
    }
    let standing = if folders.said.is_off(folder) {
        Standing::Disabled
    } else if state.waiting.contains(id) {
        Standing::Awaiting
    } else {
        Standing::Preparing
    };
    Listed {
        integration: known.integration(id),
        standing,
        lacks: OnceCell::new(),
        abilities: known.abilities,
        dispatch_types: known.dispatch_types,
        place: Some(Place {
            path: folder.path.clone(),
            kind: folder.root.kind,
            way: known.way,
            hash: state.offered.get(id).cloned().unwrap_or_default(),
            problems: Vec::new(),
            undeclared: Vec::new(),
            imports: Vec::new(),
            variables: Vec::new(),
            permissions: Permissions::default(),
            kept: false,
            worker: None,
            hides,
        }),
    }
}

fn of_loaded(loaded: &Loaded, known: Known, hides: Option<String>) -> Listed {
    let integration = loaded.integration.clone();
    let abilities = Abilities::of(&integration);
    let is_empty = abilities == Abilities::default() && integration.connector.is_none();
    // Skills are read, and a process is found, without running its code.
    let has_code = Abilities { skills: false, process: false, ..abilities } != Abilities::default()
        || integration.connector.is_some();
    let standing = match loaded.worker.state().state {
        "preparing" if !has_code => Standing::Preparing,
        "failing" if !has_code => Standing::Broken,
        _ if !is_empty => Standing::Works,
        _ if !loaded.problems.is_empty() => Standing::Broken,
        _ => Standing::Works,
    };
    let (integration, abilities, dispatch_types) = match standing != Standing::Works {
        // What it was, so that its settings are there and its answers wait.
        true => (known.integration(&loaded.folder.id), known.abilities, known.dispatch_types),
        false => {
            let types = integration.dispatchers.keys().cloned().collect();
            (integration, abilities, types)
        }
    };
    Listed {
        standing,
        lacks: OnceCell::new(),
        abilities,
        dispatch_types,
        place: Some(Place {
            path: loaded.folder.path.clone(),
            kind: loaded.folder.root.kind,
            way: way(loaded.way).into(),
            hash: loaded.hash.clone(),
            problems: loaded.problems.clone(),
            undeclared: loaded.undeclared.clone(),
            imports: loaded.imports.clone(),
            variables: loaded.variables.clone(),
            permissions: loaded.permissions.clone(),
            kept: loaded.kept,
            worker: Some(loaded.worker.clone()),
            hides,
        }),
        integration,
    }
}

/// One that was there once. Nothing of it is deleted: it may come back, or not have been looked for yet.
pub(super) fn of_absent(id: &str, known: &Known, standing: Standing) -> Listed {
    Listed {
        integration: known.integration(id),
        standing,
        lacks: OnceCell::new(),
        abilities: known.abilities,
        dispatch_types: known.dispatch_types.clone(),
        place: Some(Place {
            path: known.path.clone(),
            kind: if known.workspace { RootKind::Workspace } else { RootKind::Operator },
            way: known.way.clone(),
            hash: String::new(),
            problems: Vec::new(),
            undeclared: Vec::new(),
            imports: Vec::new(),
            variables: Vec::new(),
            permissions: Permissions::default(),
            kept: false,
            worker: None,
            hides: None,
        }),
    }
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Manifest => "manifest",
        Way::Python => "python",
        Way::Worker => "worker",
    }
}

/// Whether requests to a path below `/integrations/<id>` are deliveries.
pub fn is_webhook(integration: &Integration, path: &str) -> bool {
    let declared = integration.routes.as_ref().and_then(|routes| routes.webhook.as_deref());
    declared.is_some_and(|declared| declared.trim_matches('/') == path.trim_matches('/'))
}
