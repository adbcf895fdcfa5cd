//! What is said in recordings.

use crate::{
    api::{
        attachments::base64,
        error::{Error, Result},
        multipart,
        request::Raw,
    },
    app::App,
    speech::{self, LARGEST, Recording},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_sdk::{Kind, host::Ids};
use tercel_store::Session;

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Audio {
    /// Base64.
    audio_data: String,
    /// `webm`, `wav`, `mp3`, `m4a`, `ogg` or `flac`.
    audio_format: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub struct Transcript {
    transcript: String,
}

/// Turn speech into text
///
/// JSON, or `multipart/form-data` with a `file`.
#[utoipa::path(
    post,
    path = "/transcribe",
    tag = "chat",
    request_body(content((Audio = "application/json"), (Vec<u8> = "multipart/form-data"))),
    responses((status = 200, body = Transcript), (status = 501, description = "Nothing is set up that turns speech into text")),
)]
pub async fn transcribe(State(app): State<Arc<App>>, headers: HeaderMap, Raw(body): Raw) -> Result<Json<Transcript>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (bytes, format) = match multipart::boundary(kind) {
        Some(boundary) => {
            let parts = multipart::parts(&body, &boundary)?;
            let file = parts.into_iter().find(|part| part.filename.is_some());
            let file = file.ok_or_else(|| Error::invalid("There is no file in the body"))?;
            let named = file.filename.as_deref().and_then(|name| name.rsplit_once('.')).map(|(_, end)| end.to_owned());
            let format = named.filter(|end| speech::format(end).is_some()).or(file.content_type);
            (file.bytes, format)
        }
        None => {
            let audio: Audio = serde_json::from_slice(&body)
                .map_err(|e| Error::invalid(format!("The body is not as expected: {e}")))?;
            (base64("audio_data", &audio.audio_data)?, audio.audio_format)
        }
    };
    let transcript = listen(&app, &Ids::default(), bytes, format.as_deref(), "api").await?;
    Ok(Json(Transcript { transcript }))
}

/// The words of a recording that came with a message.
pub async fn heard(app: &Arc<App>, session: &Session, data: &str, format: Option<&str>) -> Result<String> {
    let ids = Ids {
        session: Some(session.id),
        channel: session.channel_id,
        bot: Some(session.bot_id.clone()),
        client_id: Some(session.client_id.clone()),
        ..Ids::default()
    };
    listen(app, &ids, base64("audio_data", data)?, format, "chat").await
}

async fn listen(
    app: &Arc<App>,
    ids: &Ids,
    bytes: bytes::Bytes,
    format: Option<&str>,
    source: &'static str,
) -> Result<String> {
    if bytes.is_empty() {
        return Err(Error::bad_request("audio_data: there is nothing in it"));
    }
    if bytes.len() > LARGEST {
        return Err(Error::too_large(format!("audio_data: at most {} MB are taken", LARGEST >> 20)));
    }
    let format = format.unwrap_or("webm");
    let Some(format) = speech::format(format) else {
        let shown: String = format.chars().filter(|c| !c.is_control()).take(40).collect();
        return Err(Error::invalid(format!(
            "audio_format: `{shown}` is not known; webm, wav, mp3, m4a, ogg and flac are"
        )));
    };
    let recording = Recording { bytes, format: format.into(), source };
    speech::transcribe(app, ids, &recording).await.map_err(|error| match (error.kind, error.hint) {
        (Kind::NotConfigured, Some(hint)) => Error::not_configured(format!("{}. {hint}", error.message)),
        (_, Some(hint)) => Error::model(format!("The speech was not understood: {}. {hint}", error.message)),
        (_, None) => Error::model(format!("The speech was not understood: {}", error.message)),
    })
}
