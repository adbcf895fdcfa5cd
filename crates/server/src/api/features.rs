//! Which tier is in force, for what asks before it does something.

use crate::{
    app::App,
    tier::{TIERS, features},
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Serialize, utoipa::ToSchema)]
pub struct Features {
    /// `free`, `paid`, `premium` or `ultra`.
    tier: String,
    /// All of them, from the lowest.
    tiers: Vec<String>,
    /// The tier that each feature needs: the usual ones, and those that integrations add. One that is not here needs none.
    features: BTreeMap<String, String>,
    /// Features that the tier in force does not have, and why.
    locked: BTreeMap<String, String>,
}

/// Show the tier in force and what each feature needs
#[utoipa::path(get, path = "/api/v1/features", tag = "operation", responses((status = 200, body = Features)))]
pub async fn show(State(app): State<Arc<App>>) -> Json<Features> {
    let (tier, features) = (app.config.tier, features(&app.catalog()));
    let locked = features.iter().filter_map(|(feature, needed)| {
        let why = tier.refusal(&format!("`{feature}`"), needed)?;
        Some((feature.clone(), why))
    });
    let (locked, tiers) = (locked.collect(), TIERS.map(str::to_owned).into());
    Json(Features { tier: tier.as_str().into(), tiers, features, locked })
}
