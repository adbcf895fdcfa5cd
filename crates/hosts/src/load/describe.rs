//! Asks the code what it has, unless that is known.

use super::{
    Copy,
    code::{Code, Ready},
};
use crate::{
    Folder, Hosts, Loaded, Problem, Way,
    cache::{self, Cache},
    description::Description,
    worker::{Supervisor, dump, empty},
};
use tokio::{sync::SemaphorePermit, time::timeout};

/// Nobody waits longer than this for those that hang.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

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
        copy: &Copy<'_>,
        ready: &Ready,
        last: Option<&Loaded>,
    ) -> Answer {
        let spec = self.spec(folder, code, copy, ready);
        let worker = Supervisor::new(spec, self.0.server.clone(), self.0.sandbox.clone(), self.log_of(&folder.id));
        let cache = Cache::of(&self.folders_dir(), &folder.id, &copy.snapshot.hash);
        let known = cache.described().filter(|described| described.key == ready.key);
        let description = match known {
            Some(known) => known.description,
            None => match self.ask(&worker, code).await {
                Ok(description) => {
                    let siblings = ready.siblings.clone();
                    let described = cache::Described { key: ready.key.clone(), description, siblings };
                    // What went wrong may go better at the next start.
                    if described.description.problems.is_empty()
                        && let Err(error) = cache.keep_described(&described)
                    {
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

    /// A turn of those that use a processor fully. Those that hang do not hold up the others.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        timeout(PATIENCE, self.0.describing.acquire()).await.ok()?.ok()
    }

    async fn ask(&self, worker: &Supervisor, code: &Code) -> Result<Description, String> {
        let _turn = self.turn().await;
        let open = worker.enter().await.map_err(|error| error.message)?;
        let (limit, asked) = (worker.spec().times.start, open.client.send(empty("GET", "/v1/describe")));
        let Ok(answer) = timeout(limit, asked).await else {
            let place =
                dump(worker, || open.dump()).await.map(|place| format!("; it was at {place}")).unwrap_or_default();
            return Err(format!("It did not say within {} s what it has{place}", limit.as_secs_f32()));
        };
        let answer = answer.map_err(|failure| failure.to_string())?;
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
