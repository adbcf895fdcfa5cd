//! From speech to text: integrations are asked first, then the configured service.

use crate::{
    app::{App, Call},
    emission, hooks,
};
use bytes::Bytes;
use secrecy::ExposeSecret;
use serde_json::Value;
use std::sync::Arc;
use tercel_sdk::{
    Error, Kind, Result,
    hook::{self, HookEvent},
    host::Ids,
};
use tokio_util::sync::CancellationToken;

/// Bytes of one recording.
pub const LARGEST: usize = 20 << 20;

/// Formats by what clients call them: the ending that the service goes by, and the type.
const FORMATS: [(&str, &str); 8] = [
    ("wav", "audio/wav"),
    ("mp3", "audio/mpeg"),
    ("m4a", "audio/mp4"),
    ("mp4", "audio/mp4"),
    ("ogg", "audio/ogg"),
    ("webm", "audio/webm"),
    ("flac", "audio/flac"),
    ("mpga", "audio/mpeg"),
];

/// A recording and where it came from.
pub struct Recording {
    pub bytes: Bytes,
    pub format: String,
    /// `chat` or `api`.
    pub source: &'static str,
}

/// The ending of a format that is known: `audio/webm;codecs=opus` is `webm`.
pub fn format(text: &str) -> Option<&'static str> {
    let text = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let name = text.strip_prefix("audio/").or(text.strip_prefix("video/")).unwrap_or(&text).trim_start_matches("x-");
    let name = match name {
        "mpeg" => "mp3",
        "wave" => "wav",
        "oga" | "opus" => "ogg",
        other => other,
    };
    FORMATS.iter().find(|(ending, _)| *ending == name).map(|(ending, _)| *ending)
}

/// # Errors
/// `not_configured` when nobody here understands speech.
pub async fn transcribe(app: &Arc<App>, ids: &Ids, recording: &Recording) -> Result<String> {
    if let Some(text) = ask_hooks(app, ids, recording).await {
        return Ok(text);
    }
    ask_service(app, recording).await.map_err(|error| app.catalog().redactor.error(error))
}

/// The first answer that is not null counts.
async fn ask_hooks(app: &Arc<App>, ids: &Ids, recording: &Recording) -> Option<String> {
    let event = hook::BeforeTranscription {
        context: hook::Context {
            bot_id: ids.bot.clone(),
            session_id: ids.session.map(|id| id.to_string()),
            channel_id: ids.channel.map(|id| id.to_string()),
            client_id: ids.client_id.clone(),
            correlation_id: ids.task.map(|id| id.to_string()),
        },
        audio_format: recording.format.clone(),
        audio_size_bytes: recording.bytes.len(),
        source: recording.source.into(),
    };
    let event = serde_json::to_value(event).ok()?;
    emission::emit(app, ids, hook::BeforeTranscription::NAME, &event);
    let catalog = app.catalog();
    for (name, entry) in &catalog.integrations {
        let hooks = entry.integration.hooks.iter();
        for hook in hooks.filter(|hook| hook.event == hook::BeforeTranscription::NAME) {
            let call = Call { ids: ids.clone(), timeout: Some(app.config.limits.hook), ..Call::default() };
            let Some(host) = app.host(name, entry.usual_connection(), call) else { continue };
            let call = tercel_sdk::Call { json: event.clone(), blobs: vec![recording.bytes.clone()] };
            if let Some(Value::String(text)) = hooks::ask(app, name, hook, host, call).await {
                return Some(catalog.redactor.text(&text).into_owned());
            }
        }
    }
    None
}

async fn ask_service(app: &App, recording: &Recording) -> Result<String> {
    let Some(stt) = &app.config.stt else {
        return Err(Error::not_configured("Nothing here turns speech into text")
            .hint("Set STT_BASE_URL and STT_MODEL, or send text"));
    };
    let (boundary, body) = form(&stt.model, recording);
    let http = app.plain_http(Some(&stt.base_url), None, &CancellationToken::new());
    let mut request = http
        .post(format!("{}/audio/transcriptions", stt.base_url))
        .body(&format!("multipart/form-data; boundary={boundary}"), body)
        .timeout(app.config.model_timeout)
        .repeatable();
    if let Some(key) = &stt.api_key {
        request = request.bearer(key.expose_secret());
    }
    let answer: Value = request.send().await?.ok()?.json()?;
    match answer["text"].as_str() {
        Some(text) => Ok(app.catalog().redactor.text(text.trim()).into_owned()),
        None => Err(Error::new(Kind::Error, "The service at STT_BASE_URL answered without a text")),
    }
}

fn form(model: &str, recording: &Recording) -> (String, Vec<u8>) {
    let boundary = uuid::Uuid::new_v4().simple().to_string();
    let ending = &recording.format;
    let mime = FORMATS.iter().find(|(known, _)| known == ending).map_or("application/octet-stream", |(_, mime)| mime);
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"response_format\"\r\n\r\njson\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"speech.{ending}\"\r\n\
         Content-Type: {mime}\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(&recording.bytes);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (boundary, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_known_by_what_recorders_call_it() {
        let known = ["webm", "audio/webm;codecs=opus", "audio/x-wav", "AUDIO/MPEG", ".exe", "", "audio/../x"];
        assert_eq!(known.map(format), [Some("webm"), Some("webm"), Some("wav"), Some("mp3"), None, None, None]);
    }
}
