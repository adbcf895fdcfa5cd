//! What the source of a folder declares, read without running it: variables, and the folders that it imports.

use super::code::{Code, Ready};
use crate::{
    Folder, Hosts, RootKind, Shape,
    cache::{Cache, Declared},
    environment::Interpreter,
    hosts::lock,
    sandbox::Policy,
    snapshot::{self, Snapshot},
    worker::is_reserved,
};
use std::{collections::BTreeSet, path::Path, time::Duration};
use tokio::io::AsyncReadExt;

/// It takes a moment; what takes longer hangs.
const READING: Duration = Duration::from_secs(30);

impl Hosts {
    /// Variables and imports, of the folder and of those that it imports, and of those that they import.
    pub(super) async fn read_source(
        &self,
        folder: &Folder,
        code: &Code,
        snapshot: &Snapshot,
        interpreter: &Interpreter,
        ready: &mut Ready,
    ) -> Result<(), String> {
        let own = self.declared(&self.folders_dir(), folder, snapshot, interpreter).await?;
        // A manifest alone says what there is.
        if code.manifest.is_none() {
            ready.variables.extend(own.variables.into_iter().filter(|variable| !is_reserved(&variable.key)));
        }
        // Nobody gave the code of others to a folder of the workspace.
        let mut wanted = if folder.root.kind == RootKind::Workspace { Vec::new() } else { own.imports };
        ready.imports.clone_from(&wanted);
        let mut seen = BTreeSet::from([folder.id.clone()]);
        let home = self.siblings_dir(&folder.id);
        while let Some(id) = wanted.pop() {
            let sibling = lock(&self.0.folders).get(&id).cloned();
            // One of the workspace's was not looked at by anybody when it is imported elsewhere.
            let Some(sibling) = sibling.filter(|sibling| sibling.root.kind != RootKind::Workspace) else { continue };
            if !seen.insert(id.clone()) || sibling.shape != Shape::Folder {
                continue;
            }
            let copy = snapshot::take(&home, &sibling, None).map_err(|error| format!("{error:#}"))?;
            wanted.extend(self.declared(&home, &sibling, &copy, interpreter).await?.imports);
            ready.copies.push(copy.directory);
            ready.siblings.insert(id, copy.hash);
        }
        ready.copies.sort();
        Ok(())
    }

    /// What the source declares; read once for each state.
    async fn declared(
        &self,
        home: &Path,
        folder: &Folder,
        snapshot: &Snapshot,
        interpreter: &Interpreter,
    ) -> Result<Declared, String> {
        let cache = Cache::of(home, &folder.id, &snapshot.hash);
        if let Some(declared) = cache.declared().filter(|declared| declared.by == interpreter.identity) {
            return Ok(declared);
        }
        let code = match folder.shape {
            Shape::Connector => snapshot.code.join(format!("{}.py", folder.id)),
            Shape::Folder | Shape::Manifest | Shape::Tools => snapshot.code.clone(),
        };
        let _turn = self.turn().await;
        let mut declared = self.read(interpreter, &code).await?;
        declared.by.clone_from(&interpreter.identity);
        cache.keep_declared(&declared).map_err(|error| error.to_string())?;
        Ok(declared)
    }

    async fn read(&self, interpreter: &Interpreter, code: &Path) -> Result<Declared, String> {
        let mut policy = Policy::closed(None).read(code);
        policy.readable.extend(interpreter.readable.iter().cloned());
        let command = self
            .0
            .sandbox
            .command(interpreter.program.display().to_string(), policy)
            .args(["-B", "-m", "tercel_worker.declared"])
            .args([code.display().to_string()])
            .env("PYTHONPATH", interpreter.source.display().to_string())
            .env("LANG", "C.UTF-8");
        let about = |reason: String| format!("Its source could not be read: {reason}");
        let mut running = command.spawn().await.map_err(|error| about(format!("{error:#}")))?;
        let (output, errors) = (running.stdout.take(), running.stderr.take());
        let (mut said, mut complaint) = (Vec::new(), String::new());
        let reading = async {
            if let (Some(mut output), Some(mut errors)) = (output, errors) {
                tokio::try_join!(output.read_to_end(&mut said), errors.read_to_string(&mut complaint))?;
            }
            running.wait().await
        };
        let status = tokio::time::timeout(READING, reading).await.map_err(|_| about("it took too long".into()))?;
        match status {
            Ok(status) if status.success() => serde_json::from_slice(&said).map_err(|error| about(error.to_string())),
            Ok(_) => Err(about(complaint.lines().last().unwrap_or_default().to_owned())),
            Err(error) => Err(about(format!("{error:#}"))),
        }
    }
}
