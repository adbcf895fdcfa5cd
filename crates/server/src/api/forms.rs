//! Connection forms as they are, without what was filled in: for code that wants to know what can be connected.

use crate::{app::App, catalog::Entry};
use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

#[derive(Serialize, utoipa::ToSchema)]
pub struct Forms {
    forms: Vec<Form>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Form {
    name: String,
    label: String,
    tier: String,
    /// `key`, `label`, `type`, `required` and what else is known of each.
    #[schema(value_type = Vec<Object>)]
    fields: Vec<Value>,
}

/// List the connection forms of all integrations, without any value
#[utoipa::path(get, path = "/api/v1/admin/integrations/forms", tag = "integrations", responses((status = 200, body = Forms)))]
pub async fn list(State(app): State<Arc<App>>) -> Json<Forms> {
    let catalog = app.catalog();
    let forms = catalog.integrations.values().filter(|entry| !entry.integration.fields.is_empty()).map(form);
    Json(Forms { forms: forms.collect() })
}

fn form(entry: &Arc<Entry>) -> Form {
    let integration = &entry.integration;
    let fields = integration.fields.iter().map(|field| {
        let mut shown: Map<String, Value> = match serde_json::to_value(field) {
            Ok(Value::Object(shown)) => shown,
            _ => Map::new(),
        };
        shown.shift_remove("env");
        if field.secret {
            shown.shift_remove("default");
        }
        shown.into()
    });
    Form {
        name: integration.name.clone(),
        label: integration.label.clone(),
        tier: integration.tier.clone(),
        fields: fields.collect(),
    }
}
