//! Which tier is in force, for what asks before it does something.

use crate::app::App;
use axum::{Json, extract::State};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Serialize, utoipa::ToSchema)]
pub struct Features {
    /// `free`, `paid`, `premium` or `ultra`.
    tier: String,
    /// The tier that each feature needs which integrations add to the usual ones.
    features: BTreeMap<String, String>,
}

/// Show the tier in force and the features that integrations add
#[utoipa::path(get, path = "/api/v1/features", tag = "operation", responses((status = 200, body = Features)))]
pub async fn show(State(app): State<Arc<App>>) -> Json<Features> {
    let catalog = app.catalog();
    let features = catalog.integrations.values().rev().flat_map(|entry| entry.integration.features.clone()).collect();
    Json(Features { tier: app.config.tier.clone(), features })
}
