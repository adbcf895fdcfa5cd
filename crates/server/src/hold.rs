//! A server that was restored is held: it takes everything in, and nothing leaves until somebody has looked at what would.

use crate::app::App;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};
use tercel_store::{NewNotice, now};
use tokio::sync::watch;

/// A server on a directory with this file is held; an empty one will do.
pub const FILE: &str = "held";
const NOTICE: &str = "held";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Held {
    pub since: i64,
    pub reason: String,
}

pub struct Hold {
    file: PathBuf,
    held: watch::Sender<Option<Held>>,
}

impl Hold {
    pub fn read(data: &Path) -> Self {
        Self { file: data.join(FILE), held: watch::Sender::new(look(data)) }
    }

    pub fn held(&self) -> Option<Held> {
        self.held.borrow().clone()
    }

    /// Waits until nothing is held any more.
    pub async fn released(&self) {
        // The sender is in here, so that it cannot be gone.
        let _ = self.held.subscribe().wait_for(Option::is_none).await;
    }

    fn release(&self) -> io::Result<()> {
        fs::remove_file(&self.file)?;
        if let Some(directory) = self.file.parent() {
            fs::File::open(directory)?.sync_all()?;
        }
        self.held.send_replace(None);
        Ok(())
    }
}

/// Whether a server on this directory is held.
pub fn look(data: &Path) -> Option<Held> {
    let text = fs::read(data.join(FILE)).ok()?;
    let unsaid = || Held { since: now(), reason: format!("There is a file `{FILE}` in the data directory") };
    Some(serde_json::from_slice(&text).unwrap_or_else(|_| unsaid()))
}

pub fn write(data: &Path, reason: &str) -> Result<()> {
    let write = || {
        let mut file = fs::File::create(data.join(FILE))?;
        serde_json::to_writer(&file, &Held { since: now(), reason: reason.into() })?;
        file.flush()?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", data.join(FILE).display()))
}

/// Tells, at the start.
pub async fn tell(app: &App) {
    let Some(held) = app.hold.held() else { return app.close_notice(NOTICE).await };
    app.raise(NewNotice {
        key: NOTICE.into(),
        severity: "warning",
        title: "The server is held".into(),
        detail: format!("{}. Webhooks and messages are taken in; runs and answers wait", held.reason),
        repair: Some("`tercel resume` shows what would be sent, and asks".into()),
    })
    .await;
}

/// Lets everything go on. What may have left before the copy was made is looked for first, where that can be done.
pub async fn resume(app: &App) -> Result<()> {
    for (kind, owned) in &app.catalog().dispatchers {
        if owned.dispatcher.find.is_some() {
            app.store.doubt_outbox(kind).await?;
        }
    }
    app.hold.release().with_context(|| format!("{} cannot be removed", app.hold.file.display()))?;
    tracing::info!("The server is not held any more");
    app.close_notice(NOTICE).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_holds_the_server_until_it_is_released() {
        let place = tempfile::tempdir().unwrap();
        Hold::read(place.path()).released().await;
        fs::write(place.path().join(FILE), "").unwrap();
        assert!(look(place.path()).unwrap().reason.contains("file `held`"));
        write(place.path(), "Because").unwrap();
        let hold = Hold::read(place.path());
        assert_eq!(hold.held().unwrap().reason, "Because");
        let waits = futures::poll!(std::pin::pin!(hold.released()));
        assert!(waits.is_pending());
        hold.release().unwrap();
        hold.released().await;
        assert!(look(place.path()).is_none());
    }
}
