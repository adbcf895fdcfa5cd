//! A worker that does not give up what we gave up is replaced.

use super::{
    Open, Place, Process, Supervisor,
    client::{self, Client},
};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// It has so long to see that we hung up.
const GIVING_UP: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(500);
const ANSWER: Duration = Duration::from_secs(2);
/// Looks that have to agree: calls come and go between its counting and ours.
const LOOKS: u32 = 3;
/// Others that are open may end before it is ended.
const OTHERS: Duration = Duration::from_secs(10);

impl Supervisor {
    /// After a call that was late. `open` was that call's.
    pub fn look_after(&self, open: &Open, place: Option<Place>) {
        let (supervisor, process) = (self.clone(), Arc::clone(open));
        tokio::spawn(async move {
            sleep(GIVING_UP).await;
            if supervisor.is_running(&process) && is_stuck(&process).await && supervisor.is_running(&process) {
                let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
                supervisor.replace(&process, format!("a call did not end after its time{place}")).await;
            }
        });
    }

    fn is_running(&self, process: &Arc<Process>) -> bool {
        self.phase().running.as_ref().is_some_and(|running| Arc::ptr_eq(running, process))
    }

    /// New calls get a new process.
    async fn replace(&self, process: &Arc<Process>, reason: String) {
        self.phase().release(process);
        let others = async {
            while process.open() > 0 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let _ = timeout(OTHERS, others).await;
        process.kill(reason);
    }
}

async fn is_stuck(process: &Process) -> bool {
    for _ in 0..LOOKS {
        let before = process.open();
        let Ok(Some(calls)) = timeout(ANSWER, calls(&process.client)).await else { return true };
        if calls <= before.max(process.open()) {
            return false;
        }
        sleep(BETWEEN).await;
    }
    true
}

/// How many it has open, as it counts.
async fn calls(client: &Client) -> Option<usize> {
    #[derive(Deserialize)]
    struct Health {
        #[serde(default)]
        calls: usize,
    }
    let answer = client.send(client::empty("GET", "/v1/health")).await.ok()?;
    let bytes = answer.bytes().await.ok()?;
    serde_json::from_slice::<Health>(&bytes).ok().map(|health| health.calls)
}
