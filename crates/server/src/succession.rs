//! A server whose place another one took, and which has it again: what it knew may be wrong, and is read anew first.

use crate::{announce, app::App, ceilings, watchman};
use anyhow::Result;
use std::{sync::Arc, time::Duration};
use tercel_store::Turn;

const PAUSE: Duration = Duration::from_secs(1);

/// Why nothing is answered, while what is known here may be wrong.
pub fn obstacle(app: &App) -> Option<&'static str> {
    match *app.store.turn().borrow() {
        Turn::Ours => None,
        Turn::Lost => Some("Another server has the database: this one answers again when it has its place back"),
        Turn::Back(_) => Some("Another server had the database until now: what it changed is read"),
    }
}

/// Waits until what is known here is right, or the server stops.
pub async fn is_ours(app: &App) {
    let mut turns = app.store.turn();
    tokio::select! {
        _ = turns.wait_for(|turn| turn.is_ours()) => {}
        () = app.stopping.cancelled() => {}
    }
}

/// Reads everything anew whenever another server was there, until this one stops.
pub async fn watch(app: Arc<App>) {
    let mut turns = app.store.turn();
    loop {
        let turn = tokio::select! {
            () = app.stopping.cancelled() => return,
            turn = turns.wait_for(|turn| matches!(turn, Turn::Back(_))) => match turn {
                Ok(turn) => *turn,
                Err(_) => return,
            },
        };
        match read_anew(&app).await {
            Ok(()) => {
                tracing::info!("Another server had the database meanwhile: all that it may have changed was read");
                app.store.has_read_anew(turn);
            }
            Err(error) => {
                tracing::error!("What another server may have changed cannot be read and is tried again: {error:#}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn read_anew(app: &Arc<App>) -> Result<()> {
    app.sealer.check_database(&app.store).await?;
    app.access.read(&app.store).await?;
    app.providers.reload(&app.config, &app.store, &app.sealer).await?;
    ceilings::read_anew(app).await?;
    announce::read_anew(app).await?;
    watchman::read_anew(app).await?;
    app.reload().await?;
    app.schedules.notify_one();
    app.syncs.notify_one();
    Ok(())
}
