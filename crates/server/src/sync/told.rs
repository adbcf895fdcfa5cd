//! What a sync tells people, and when that is over.

use crate::{app::App, connection::name, watchman};
use tercel_sdk::{Error, Kind};
use tercel_store::{NewNotice, Sync, SyncEnd};

pub fn notice(integration: &str, connection: &str) -> String {
    format!("sync:{}", name::of(integration, connection))
}

/// Tells of an end that needs a person.
pub async fn tell(app: &App, sync: &Sync, end: &SyncEnd) {
    let (SyncEnd::Failed(error) | SyncEnd::Waiting(error)) = end else { return };
    let name = name::of(&sync.integration, &sync.connection);
    let cause = serde_json::from_str::<Error>(error).ok();
    // One cause, one notice: that the credentials are refused is told already.
    if cause.as_ref().is_some_and(|cause| cause.kind == Kind::Auth) && watchman::is_refused(app, &name) {
        return;
    }
    let (does, usual) = match end {
        SyncEnd::Waiting(_) => ("waits", "It goes on when this is mended".to_owned()),
        _ => ("failed", "The next sync brings what this one did not".to_owned()),
    };
    let detail = cause.as_ref().map_or_else(|| error.clone(), |cause| cause.message.clone());
    app.raise(NewNotice {
        key: notice(&sync.integration, &sync.connection),
        severity: "error",
        title: format!("The sync of `{}` to `{name}` {does}", sync.collection),
        detail,
        repair: cause.and_then(|cause| cause.hint).or(Some(usual)),
    })
    .await;
}

/// After the end: what it left behind is told, or what was told is over.
pub async fn settle(app: &App, sync: &Sync) {
    let now = match app.store.sync(sync.id).await {
        Ok(Some(now)) if now.ended_at.is_some() => now,
        _ => return,
    };
    metrics::counter!("tercel_syncs_total", "integration" => now.integration.clone(), "status" => now.status.clone())
        .increment(1);
    let name = name::of(&now.integration, &now.connection);
    tracing::info!(
        sync.id = %now.id,
        "The sync of `{}` to `{name}` is {}: {} created, {} updated, {} deleted, {} skipped, {} failed, {} unknown",
        now.collection, now.status, now.created, now.updated, now.deleted, now.skipped, now.failed, now.unknown
    );
    if now.dry_run || now.status != "complete" {
        return;
    }
    let key = notice(&now.integration, &now.connection);
    if now.failed + now.unknown == 0 {
        return app.close_notice(&key).await;
    }
    let detail = match now.unknown {
        0 => format!("{} failed", now.failed),
        unknown => format!("{} failed; of {unknown} nobody knows whether they are there", now.failed),
    };
    app.raise(NewNotice {
        key,
        severity: "warning",
        title: format!("Some records of `{}` are not at `{name}`", now.collection),
        detail,
        repair: Some(format!("GET /api/v1/syncs/{}/records?outcome=failed says why, and so does =unknown", now.id)),
    })
    .await;
}
