//! A person who is being asked: kept until they have answered, also over a restart.

use super::{Consent, Place, over, stored, wanted};
use crate::{app::App, connection::draft::Changes};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_store::now;

/// Where it stands among the values of its connection.
pub const ASKING: &str = "oauth.asking";

#[derive(Clone, Serialize, Deserialize)]
pub struct Asking {
    /// Nobody guesses it. The `state` of the flow that has one.
    pub id: String,
    pub way: Way,
    /// Values that are saved when the person has agreed.
    pub changes: Changes,
    pub began_at: i64,
    pub ends_at: i64,
    /// The id of the only account that may agree: whoever has the link is not asked for anything else.
    pub account_id: Option<String>,
    /// What somebody has agreed to of whom it is not known yet whether they may.
    pub agreed: Option<Consent>,
    pub end: Option<End>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// In a browser, which comes back.
    Code { url: String, redirect: String, verifier: String },
    /// On any device, with a code that is typed.
    Device { url: String, complete_url: Option<String>, user_code: String, device_code: String, interval: u64 },
}

/// Why nothing came of it.
#[derive(Clone, Serialize, Deserialize)]
pub struct End {
    pub at: i64,
    pub code: String,
    pub message: String,
}

/// The names of the flows.
pub const CODE: &str = "code";
pub const DEVICE: &str = "device";

impl Way {
    pub fn flow(&self) -> &'static str {
        match self {
            Self::Code { .. } => CODE,
            Self::Device { .. } => DEVICE,
        }
    }
}

impl Asking {
    pub fn is_open(&self) -> bool {
        self.end.is_none() && self.ends_at > now()
    }

    /// Whether it is what is stored, and nothing came of it yet.
    pub fn is_open_as(&self, stored: &Self) -> bool {
        stored.id == self.id && stored.end.is_none()
    }

    pub fn secrets(&self) -> impl Iterator<Item = String> {
        let own = match &self.way {
            Way::Code { verifier, .. } => verifier.clone(),
            Way::Device { device_code, .. } => device_code.clone(),
        };
        [own, self.id.clone()].into_iter().chain(self.agreed.iter().flat_map(Consent::secrets))
    }
}

/// The connection whose person comes back with this state.
pub fn with_state(app: &App, state: &str) -> Option<(Place, Arc<Asking>)> {
    let catalog = app.catalog();
    let all = catalog.integrations.iter().flat_map(|(integration, entry)| {
        entry.connections.iter().map(move |(connection, values)| (integration, connection, values))
    });
    all.filter_map(|(integration, connection, values)| {
        let asking = values.asking.clone().filter(|asking| asking.id == state)?;
        matches!(asking.way, Way::Code { .. }).then(|| (Place::new(integration, connection), asking))
    })
    .next()
}

/// Keeps it in the place of the one before it.
pub async fn put(app: &App, place: &Place, asking: &Asking) -> Result<()> {
    stored::put(app, place, ASKING, asking).await
}

/// Whether the person is still asked, and their answer could be stored.
pub async fn is_still_open(app: &App, place: &Place, asking: &Asking) -> Result<bool> {
    stored::is_still(app, place, ASKING, |there| asking.is_open_as(there)).await
}

/// Keeps what they agreed to until it is known who they are. Answers whether they are still asked.
pub async fn keep(app: &App, place: &Place, asking: &Asking, consent: &Consent) -> Result<bool> {
    let with_it = |there| asking.is_open_as(&there).then(|| Asking { agreed: Some(consent.clone()), ..there });
    stored::change(app, place, ASKING, with_it).await
}

/// Nothing came of it: what was kept for it is forgotten, and what is left says why.
pub async fn end(app: &Arc<App>, place: &Place, asking: &Asking, code: &str, message: &str) -> Result<()> {
    let stored = place.values(app).and_then(|values| values.asking).filter(|stored| stored.id == asking.id);
    let way = match asking.way.clone() {
        Way::Code { redirect, .. } => Way::Code { url: String::new(), redirect, verifier: String::new() },
        Way::Device { url, .. } => {
            Way::Device { url, complete_url: None, user_code: String::new(), device_code: String::new(), interval: 0 }
        }
    };
    let end = Some(End { at: now(), code: code.into(), message: message.into() });
    let ended = Asking { way, changes: Changes::new(), agreed: None, end, ..asking.clone() };
    // Somebody may have begun anew.
    let is_ended =
        stored::change(app, place, ASKING, |there: Asking| (there.id == asking.id).then(|| ended.clone())).await?;
    if is_ended {
        tracing::info!(integration = place.integration, connection = place.connection, "Nobody agreed: {message}");
        if let Some(stored) = stored {
            take_back(app, place, &stored).await;
        }
    }
    Ok(())
}

/// What was kept of somebody who is not asked any more shall count no more. Where there is a consent that counts, the
/// service may take both for one: then it is left.
pub async fn take_back(app: &Arc<App>, place: &Place, asking: &Asking) {
    let values = place.values(app);
    if let Some(kept) = &asking.agreed
        && let Some(values) = values.filter(|values| values.consent.as_ref().is_none_or(|now| now.over.is_some()))
        && let Ok(Some((oauth, host))) = wanted(app, place, &values)
        && let Some(Err(error)) = over::revoke(&host, &oauth, kept).await
    {
        tracing::warn!("What somebody agreed to for `{}` could not be taken back: {error}", place.name());
    }
}
