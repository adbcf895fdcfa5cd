//! What the operator said about integrations, as it is kept: switched off, approved, allowed.

use super::listed::Known;
use crate::app::App;
use futures::future::try_join_all;
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};
use tercel_hosts::{Folder, RootKind, Shape};
use tercel_store::{IntegrationRow, Result, Store};

/// Rows by integration.
#[derive(Default)]
pub struct Said {
    rows: RwLock<BTreeMap<String, IntegrationRow>>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

impl Said {
    pub async fn read(store: &Store) -> Result<Self> {
        let rows = store.integration_rows().await?;
        let rows = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        Ok(Self { rows: RwLock::new(rows), ..Self::default() })
    }

    pub fn of(&self, id: &str) -> IntegrationRow {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(id).cloned().unwrap_or_else(|| IntegrationRow {
            id: id.into(),
            allowed: "[]".into(),
            ..IntegrationRow::default()
        })
    }

    /// Whether it is switched off. What ships as code of another language is until somebody wants it: it would need an
    /// interpreter that nobody asked for.
    pub fn is_off(&self, folder: &Folder) -> bool {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let is_unasked = folder.root.kind == RootKind::Shipped && folder.shape != Shape::Manifest;
        rows.get(&folder.id).map_or(is_unasked, |row| row.disabled)
    }

    fn is_known(&self, id: &str) -> bool {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }

    pub fn ids(&self) -> Vec<String> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub fn known(&self, id: &str) -> Option<Known> {
        serde_json::from_str(self.of(id).known.as_deref()?).ok()
    }

    /// Variables that the operator allowed though nothing declares them.
    pub fn allowed(&self, id: &str) -> Vec<String> {
        serde_json::from_str(&self.of(id).allowed).unwrap_or_default()
    }
}

/// Changes what is kept of an integration. Answers whether that made a difference.
pub async fn change(app: &Arc<App>, id: &str, change: impl FnOnce(&mut IntegrationRow)) -> Result<bool> {
    let said = &app.folders.said;
    let _one = said.changing.lock().await;
    let before = said.of(id);
    let mut row = before.clone();
    change(&mut row);
    if row == before && said.is_known(id) {
        return Ok(false);
    }
    app.store.put_integration(row.clone()).await?;
    said.rows.write().unwrap_or_else(PoisonError::into_inner).insert(id.into(), row);
    Ok(true)
}

/// Keeps what integrations are, for the time when they are gone.
pub async fn know(app: &Arc<App>, known: Vec<(String, String)>) -> Result<()> {
    let said = &app.folders.said;
    let _one = said.changing.lock().await;
    let mut rows: Vec<IntegrationRow> = Vec::new();
    for (id, known) in known {
        let row = said.of(&id);
        if row.known.as_ref() != Some(&known) {
            rows.push(IntegrationRow { known: Some(known), ..row });
        }
    }
    // At once, so that they are one commit.
    try_join_all(rows.iter().map(|row| app.store.put_integration(row.clone()))).await?;
    let mut all = said.rows.write().unwrap_or_else(PoisonError::into_inner);
    all.extend(rows.into_iter().map(|row| (row.id.clone(), row)));
    Ok(())
}

/// Forgets what was set and found for an integration. Answers how many rows of what are gone.
pub async fn forget(app: &Arc<App>, id: &str) -> Result<Vec<(&'static str, u64)>> {
    let said = &app.folders.said;
    let _one = said.changing.lock().await;
    let gone = app.store.forget_integration(id).await?;
    said.rows.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    Ok(gone)
}
