//! Keeping up with folders while the server runs.

use super::load::{look, reload};
use crate::app::App;
use std::sync::Weak;
use tercel_hosts::Change;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

pub async fn keep_up(app: Weak<App>, mut changes: UnboundedReceiver<Change>, stopping: CancellationToken) {
    loop {
        let change = tokio::select! {
            () = stopping.cancelled() => return,
            change = changes.recv() => change,
        };
        let (Some(change), Some(app)) = (change, app.upgrade()) else { return };
        match change {
            Change::Folders => look(&app).await,
            Change::Folder(id) => reload(&app, &id).await,
        }
    }
}
