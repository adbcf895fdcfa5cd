//! Lets go files that nobody has: sent and never attached, or of messages that are gone.

use super::{directory, place};
use crate::app::App;
use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};
use tercel_store::{Result, Uuid, now};

/// How long a file waits for its message.
const KEPT: Duration = Duration::from_secs(86_400);
/// Files that are looked at in one write.
const PIECE: i64 = 100;

/// Answers how many went.
pub async fn let_go(app: &App) -> Result<u64> {
    let before = now() - KEPT.as_micros() as i64;
    let (mut gone, mut after) = (0, Uuid::nil());
    loop {
        let ids = app.store.loose_attachments(before, after, PIECE).await?;
        let Some(last) = ids.last() else { return Ok(gone) };
        after = *last;
        // Meanwhile nobody keeps a file with the same bytes.
        let _alone = app.files.write().await;
        let (count, hashes) = app.store.forget_attachments(ids, before).await?;
        gone += count;
        for hash in hashes {
            remove(&place(app, &hash)).await;
        }
    }
}

/// Removes files without a row: a crash between the two leaves one behind.
pub async fn sweep(app: &App) -> Result<()> {
    let Ok(mut shelves) = tokio::fs::read_dir(directory(app)).await else { return Ok(()) };
    while let Ok(Some(shelf)) = shelves.next_entry().await {
        let Ok(mut files) = tokio::fs::read_dir(shelf.path()).await else { continue };
        let mut old = Vec::new();
        while let Ok(Some(file)) = files.next_entry().await {
            let changed = file.metadata().await.and_then(|data| data.modified());
            let is_old = changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > KEPT));
            if is_old {
                old.push((file.file_name().to_string_lossy().into_owned(), file.path()));
            }
        }
        let _alone = app.files.write().await;
        let names = old.iter().map(|(name, _)| name.clone()).collect();
        let known: HashSet<String> = app.store.known_hashes(names).await?.into_iter().collect();
        for (_, path) in old.iter().filter(|(name, _)| !known.contains(name)) {
            remove(path).await;
        }
    }
    Ok(())
}

async fn remove(path: &std::path::Path) {
    if let Err(error) = tokio::fs::remove_file(path).await {
        tracing::warn!("{} cannot be removed: {error}", path.display());
    }
}
