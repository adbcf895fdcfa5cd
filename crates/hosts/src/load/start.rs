//! What a worker is started with, and what it may.

use super::{
    Copy,
    code::{Code, Ready},
};
use crate::{Folder, Hosts, Place, confine::Confines, snapshot::Snapshot, worker::Spec};
use std::collections::BTreeMap;

impl Hosts {
    pub(super) fn confines(&self, folder: &Folder, code: &Code, copy: &Copy, ready: &Ready) -> Confines {
        let (permissions, snapshot) = (code.permissions(), copy.snapshot);
        Confines {
            integration: folder.id.clone(),
            directory: snapshot.directory.clone(),
            code: snapshot.code.clone(),
            siblings: ready.copies.clone(),
            state: self.state_dir(&folder.id),
            read: permissions.read,
            write: permissions.write,
            interpreter: ready.interpreter.clone(),
            limits: code.manifest.as_ref().map(|manifest| manifest.limits.clone()).unwrap_or_default(),
            held: Some(copy.held.clone()),
        }
    }

    pub(super) fn spec(&self, folder: &Folder, code: &Code, copy: &Copy, ready: &Ready) -> Spec {
        let manifest = code.manifest.as_ref();
        let mut command = code.command().to_vec();
        let program = ready.interpreter.as_ref().map(|interpreter| interpreter.program.display().to_string());
        match (&program, command.first_mut()) {
            (Some(program), Some(first)) => first.clone_from(program),
            (Some(program), None) => {
                let place = copy.snapshot.directory.display().to_string();
                command = [program, "-B", "-m", "tercel_worker", &place, &folder.id].map(str::to_owned).into();
                command.extend(ready.copies.iter().map(|copy| copy.join("integrations").display().to_string()));
            }
            (None, _) => {}
        }
        Spec {
            integration: folder.id.clone(),
            command,
            dumps: code.command().is_empty(),
            directory: code.worker_directory(copy.snapshot),
            confines: self.confines(folder, code, copy, ready),
            hosts: code.permissions().hosts,
            root: folder.root.kind,
            sockets: self.0.config.data.join("run"),
            path: self.0.config.path.clone(),
            environment: ready.environment(),
            variables: ready.variables.clone(),
            times: manifest.map(|manifest| manifest.times).unwrap_or_default(),
        }
    }
}

impl Ready {
    pub fn place(&self, code: &Code, snapshot: &Snapshot, confines: Confines) -> Place {
        Place {
            directory: code.process_directory(snapshot),
            python: self.interpreter.as_ref().map(|interpreter| interpreter.program.clone()),
            environment: self.environment(),
            confines,
        }
    }

    fn environment(&self) -> BTreeMap<String, String> {
        let Some(interpreter) = &self.interpreter else { return BTreeMap::new() };
        let variables = [
            ("PYTHONPATH", interpreter.source.display().to_string()),
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
            ("PYTHONUNBUFFERED", "1".into()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }
}
