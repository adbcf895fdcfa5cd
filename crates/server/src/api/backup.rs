//! A backup of everything, as a download.

use super::{
    error::{Error, Result},
    request::Body,
};
use crate::{
    app::App,
    backup::{self, Secrets},
};
use axum::{
    body::Body as Stream,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use serde::Deserialize;
use std::sync::Arc;

/// Shorter ones are guessed.
const SHORTEST: usize = 8;

/// One of the two.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// The secrets are sealed to it; it is asked for when the backup is restored.
    passphrase: Option<String>,
    /// true: the secrets are left out and have to be entered again after a restore.
    #[serde(default)]
    without_secrets: bool,
}

/// Make a backup
#[utoipa::path(post, path = "/api/v1/backup", tag = "backup", request_body = Ask, responses((status = 200, content_type = "application/gzip", body = Vec<u8>)))]
pub async fn make(State(app): State<Arc<App>>, Body(ask): Body<Ask>) -> Result<Response> {
    let secrets = match (ask.passphrase, ask.without_secrets) {
        (Some(passphrase), false) if passphrase.chars().count() < SHORTEST => {
            return Err(Error::invalid(format!("The passphrase needs {SHORTEST} characters at least")));
        }
        (Some(passphrase), false) => Secrets::SealedTo(SecretString::from(passphrase)),
        (None, true) => Secrets::LeftOut,
        _ => return Err(Error::invalid("Say either `passphrase`, or `without_secrets`: true")),
    };
    let ready = backup::prepare(&app, secrets).await.map_err(|error| Error::conflict(format!("{error:#}")))?;
    let pieces = backup::pack(app, ready);
    let stream = futures::stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    let headers = [
        (header::CONTENT_TYPE, "application/gzip"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"tercel-backup.tar.gz\""),
    ];
    Ok((headers, Stream::from_stream(stream)).into_response())
}
