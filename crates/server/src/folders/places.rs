//! Where folders are looked for.

use crate::{app::App, config::Config};
use anyhow::Result;
use std::{path::PathBuf, time::Duration};
use tercel_hosts::{Root, RootKind};

/// How long an environment for Python is kept that no folder needs: who takes a change back does not wait for it.
const KEEP_ENVIRONMENTS: Duration = Duration::from_secs(86_400);

/// In order: a later root replaces an id whole, but for the workspace. What ships comes first.
pub fn places(config: &Config, app: &App, shipped: Root) -> Result<tercel_hosts::Config> {
    let folders = &config.folders;
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    // Programs that are started elsewhere get these paths, too.
    let data = std::path::absolute(&config.data_dir)?;
    let usual = [PathBuf::from("integrations"), data.join("integrations")].map(absolute);
    let workspace = absolute(folders.workspace.join("integrations"));
    let operator = usual.iter().cloned().chain(folders.directories.iter().cloned().map(absolute));
    let mut roots = vec![shipped];
    roots.extend(operator.map(|path| Root { path, kind: RootKind::Operator }));
    roots.push(Root { path: workspace.clone(), kind: RootKind::Workspace });
    let beside = |root: &Root| Root { path: root.path.join("scripts/integrations"), kind: root.kind };
    let here = Root { path: absolute(".".into()), kind: RootKind::Operator };
    let connector_dirs: Vec<Root> = [&here].into_iter().chain(&roots).map(beside).collect();
    let tools = absolute("tools".into());
    // Those that nobody named need not be there, and count from when they are.
    let connectors = connector_dirs.iter().map(|root| root.path.clone());
    let usual = usual.into_iter().chain([workspace, tools.clone()]).chain(connectors).collect();
    Ok(tercel_hosts::Config {
        data,
        tool_dirs: folders.tools.iter().cloned().chain([tools]).collect(),
        connector_dirs,
        usual,
        roots,
        path: folders.path.clone(),
        installing: config.installing(),
        keep_environments: KEEP_ENVIRONMENTS,
        native: app.folders.natives.iter().map(|native| (native.name.clone(), native.version.clone())).collect(),
    })
}
