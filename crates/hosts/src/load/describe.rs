//! Asks the code what it has, unless that is known.

use super::code::{Code, Ready};
use crate::{
    Folder, Hosts, Loaded, Problem, Way,
    cache::{self, Cache},
    description::Description,
    snapshot::Snapshot,
    worker::{Supervisor, empty},
};

pub enum Answer {
    Described(Box<Described>),
    Failed(Vec<Problem>),
}

pub struct Described {
    pub description: Description,
    pub worker: Supervisor,
}

impl Hosts {
    pub(super) async fn describe(
        &self,
        folder: &Folder,
        code: &Code,
        snapshot: &Snapshot,
        ready: &Ready,
        last: Option<&Loaded>,
    ) -> Answer {
        let spec = self.spec(folder, code, snapshot, ready);
        let worker = Supervisor::new(spec, self.0.server.clone(), self.0.sandbox.clone(), self.log_of(&folder.id));
        let cache = Cache::of(&self.folders_dir(), &folder.id, &snapshot.hash);
        let known = cache.described().filter(|described| described.key == ready.key);
        let description = match known {
            Some(known) => known.description,
            None => match self.ask(&worker, code).await {
                Ok(description) => {
                    let siblings = ready.siblings.clone();
                    let described = cache::Described { key: ready.key.clone(), description, siblings };
                    if let Err(error) = cache.keep_described(&described) {
                        return Answer::Failed(vec![Problem::new("", format!("{error}"))]);
                    }
                    // One that was at work goes on with the new state; another rests until something needs it.
                    if last.is_none_or(|last| last.worker.state().state != "running") {
                        worker.rest();
                    }
                    described.description
                }
                Err(reason) => {
                    worker.rest();
                    return Answer::Failed(vec![Problem::new("", reason)]);
                }
            },
        };
        let description = match &code.manifest {
            Some(manifest) => manifest.with(description),
            None => description,
        };
        Answer::Described(Box::new(Described { description, worker }))
    }

    async fn ask(&self, worker: &Supervisor, code: &Code) -> Result<Description, String> {
        let _turn = self.0.describing.acquire().await;
        let open = worker.enter().await.map_err(|error| error.message)?;
        let answer = open.client.send(empty("GET", "/v1/describe"));
        let answer = tokio::time::timeout(worker.spec().times.start, answer).await;
        let late = || format!("It did not say within {} s what it has", worker.spec().times.start.as_secs_f32());
        let answer = answer.map_err(|_| late())?.map_err(|failure| failure.to_string())?;
        let status = answer.head.status();
        let bytes = answer.bytes().await.map_err(|failure| failure.to_string())?;
        match status.as_u16() {
            200 => Description::read(&bytes),
            // A manifest may say it all.
            404 if code.way == Way::Worker => Ok(Description { protocol: 1, ..Description::default() }),
            status => Err(format!("GET /v1/describe answered {status}")),
        }
    }
}
