//! Where notices are sent, and what they say there.

use crate::{app::App, outbox};
use std::sync::{
    PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};
use tercel_sdk::Target;
use tercel_store::{Announcement, NewNotice, NewOutbox, OutboxRow, Uuid};

/// Where the target is kept.
const SETTING: &str = "notices.target";
/// What rows about notices have before their target: they are no answers, and wait for none.
const QUEUE: &str = "notice:";
/// That they cannot be sent is not sent.
const UNSENT: &str = "notices";
/// Characters of one message, where the service takes as many.
const MOST: usize = 3000;

#[derive(Default)]
pub struct Announcer {
    /// As it is stored, sealed.
    target: RwLock<Option<String>>,
    /// Whether all was well with the last one.
    is_well: AtomicBool,
}

impl Announcer {
    pub async fn load(store: &tercel_store::Store) -> tercel_store::Result<Self> {
        Ok(Self { target: RwLock::new(store.server_setting(SETTING).await?), is_well: AtomicBool::default() })
    }

    pub fn target(&self) -> Option<String> {
        self.target.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads anew where notices go.
pub async fn read_anew(app: &App) -> tercel_store::Result<()> {
    let target = app.store.server_setting(SETTING).await?;
    *app.announcer.target.write().unwrap_or_else(PoisonError::into_inner) = target;
    Ok(())
}

/// From now on, notices go there; or, without a target, nowhere.
pub async fn send_to(app: &App, target: Option<&Target>) -> tercel_store::Result<()> {
    let sealed = target.map(|target| app.seal_target(target));
    app.store.put_server_setting(SETTING, sealed.clone()).await?;
    *app.announcer.target.write().unwrap_or_else(PoisonError::into_inner) = sealed;
    app.store.close_notice(UNSENT).await?;
    Ok(())
}

/// How people are told of a notice; not at all where nobody shall be, or could be.
pub fn of(app: &App, id: Uuid, notice: &NewNotice) -> Option<Announcement> {
    let NewNotice { key, title, detail, repair, .. } = notice;
    let link = format!("{}/api/v1/notices/{id}", app.config.public_url());
    let repair = repair.as_ref().map(|repair| format!("\nWhat helps: {repair}")).unwrap_or_default();
    announcement(app, key, format!("{title}\n{detail}{repair}\n{link}"))
}

/// How people are told that a notice is over.
pub fn over(app: &App, key: &str) -> Option<Announcement> {
    announcement(app, key, String::new())
}

fn announcement(app: &App, key: &str, text: String) -> Option<Announcement> {
    let sealed = app.announcer.target()?;
    let target = app.open_target(&sealed).inspect_err(|e| tracing::error!("Notices go nowhere: {e:#}")).ok()?;
    if target.kind == "none" || concerns(key, &target.kind) {
        return None;
    }
    let catalog = app.catalog();
    let dispatcher = catalog.dispatcher(&target.kind);
    let row = NewOutbox {
        // Each message gets one of its own when it is put into the outbox.
        id: Uuid::nil(),
        target: format!("{QUEUE}{}", outbox::key(&target)),
        task_id: None,
        session_id: None,
        bot_id: "notices".into(),
        dispatch_type: target.kind,
        sealed_target: sealed,
        text: catalog.redactor.text(&text).into_owned(),
        part: 1,
        parts: 1,
        hops: 1,
        rehearse: false,
        expires_at: None,
    };
    Some(Announcement {
        row,
        most: dispatcher.map_or(MOST, |dispatcher| dispatcher.unit.characters(dispatcher.limit).min(MOST)),
    })
}

/// Whether a notice says that its own way out is closed.
fn concerns(key: &str, kind: &str) -> bool {
    key == UNSENT || ["parked:", "credentials:", "consent:"].iter().any(|what| key.strip_prefix(what) == Some(kind))
}

pub fn is_one(row: &OutboxRow) -> bool {
    row.target.starts_with(QUEUE)
}

/// A message about a notice did not get through: that is to be seen in the list of notices, and nowhere else.
pub async fn failed(app: &App, row: &OutboxRow, why: String) {
    app.announcer.is_well.store(false, Ordering::Relaxed);
    app.raise(NewNotice {
        key: UNSENT.into(),
        severity: "error",
        title: format!("Notices cannot be sent by `{}`", row.dispatch_type),
        detail: why,
        repair: Some("Mend it, or name another target by PUT /api/v1/notices/target; until then look here".into()),
    })
    .await;
}

pub async fn arrived(app: &App) {
    if !app.announcer.is_well.swap(true, Ordering::Relaxed) {
        app.close_notice(UNSENT).await;
    }
}

/// The target as it may be shown.
pub fn shown(app: &App) -> Option<serde_json::Value> {
    app.announcer.target().map(|sealed| app.masked_target(Some(&sealed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_about_its_own_way_out_is_not_sent() {
        assert!(concerns("parked:forge", "forge") && concerns("consent:forge", "forge"));
        assert!(concerns("notices", "webhook"));
        assert!(!concerns("parked:forge", "chat") && !concerns("dead:webhook", "webhook"));
    }
}
