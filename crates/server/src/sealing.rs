//! Replacing the key that secrets are sealed with.

use crate::{app, app::App, catalog, emission, folders::deliveries, providers};
use anyhow::{Result, bail};
use std::{path::Path, sync::Arc};
use tercel_store::{Sealer, Store, seal::renewal::Row};

/// What was done.
pub struct Replaced {
    /// The new key, by its id.
    pub id: String,
    /// Values that were sealed anew.
    pub renewed: u64,
}

/// At the start: a replacement comes to its end. Nobody has a value in hand that the key before this one sealed.
pub async fn settle(store: &Store, sealer: &Sealer, data: &Path) -> Result<()> {
    sealer.read_marker(store).await?;
    let Some(previous) = sealer.previous_id() else { return Ok(()) };
    let renewed = store.renew_seals(sealer, place).await?;
    sealer.forget_previous(data)?;
    tracing::info!(
        "Everything is sealed with the key {}, {renewed} values of it anew. The key {previous} is not needed any more, but for \
         backups that were made before; ENCRYPTION_KEY_PREVIOUS can be taken out",
        sealer.id()
    );
    Ok(())
}

/// Makes a new key, and seals everything with it while the server runs.
///
/// # Errors
/// When the key is not this server's to make, and while a backup is made, which would have one key and values of another.
pub async fn replace(app: &Arc<App>) -> Result<Replaced> {
    if app.config.encryption_key.is_some() {
        bail!(
            "The key comes from ENCRYPTION_KEY, so that only you can replace it: set ENCRYPTION_KEY to a new one (`openssl rand \
             -hex 32`) and ENCRYPTION_KEY_PREVIOUS to the one of now, and start the server anew. It seals everything with the \
             new one, and says so"
        );
    }
    let Some(_alone) = app.backups.pause() else { bail!("A backup is being made; wait for its end") };
    app.sealer.replace_key(&app.config.data_dir)?;
    let renewed = app.store.renew_seals(&app.sealer, place).await?;
    app.sealer.note(&app.config.data_dir);
    app.reload().await?;
    tracing::info!("The key was replaced: {renewed} values are sealed with {}", app.sealer.id());
    Ok(Replaced { id: app.sealer.id(), renewed })
}

/// Where a sealed value of a table is bound to.
fn place(table: &str, row: &Row) -> String {
    match (table, row) {
        ("settings", Row::Setting { integration, connection, key }) => catalog::place(integration, connection, key),
        ("hooks", Row::Id(id)) => emission::place(*id),
        ("providers", Row::Name(id)) => providers::place(id),
        ("deliveries", _) => deliveries::REQUEST.into(),
        _ => app::TARGET.into(),
    }
}
