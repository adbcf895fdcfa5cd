//! Files for messages: sent before them or with them, shown without harm.

use super::{
    auth::Identity,
    during::During,
    error::{Error, Result},
    multipart,
    request::{Id, Idempotency, Ids, Raw},
    sessions,
};
use crate::{
    app::App,
    attachments::{self, Attached, LARGEST, MOST, Refusal, Upload},
};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tercel_store::{Given, Uuid};

/// A file with a message: its content, or the id of one that was sent before.
#[derive(Deserialize, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAttachment {
    id: Option<Uuid>,
    filename: Option<String>,
    /// What it claims to be; its content decides.
    mime_type: Option<String>,
    /// Base64, or a `data:` address.
    data: Option<String>,
    /// Instead of content: where it is. Nobody here asks for it.
    url: Option<String>,
    /// How large that is.
    size_bytes: Option<u32>,
    /// What else is to be kept with the message about it.
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// The message that it belongs to, where that is there already.
    message_id: Option<Uuid>,
}

/// Bytes of what is kept about one file.
const MOST_METADATA: usize = 8 << 10;
const LONGEST_URL: usize = 2048;

/// Send files to be attached to a message
///
/// `multipart/form-data` with one or more files, or JSON: `filename`, `mime_type`, `data` in base64. With `message_id` it is a file
/// of that message at once, and may be a `url` instead.
#[utoipa::path(
    post,
    path = "/api/v1/attachments",
    tag = "attachments",
    params(("Idempotency-Key" = Option<String>, Header, description = "With `message_id`: the same key is the same file")),
    request_body(content((NewAttachment = "application/json"), (Vec<u8> = "multipart/form-data"))),
    responses((status = 201, body = Vec<Attached>), (status = 415, description = "It is not of a type that is taken, or not of the one it claims")),
)]
pub async fn upload(
    State(app): State<Arc<App>>,
    Extension(identity): Extension<Arc<Identity>>,
    Idempotency(key): Idempotency,
    during: During,
    headers: HeaderMap,
    Raw(body): Raw,
) -> Result<(StatusCode, Json<Vec<Attached>>)> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let uploads: Vec<Upload> = match multipart::boundary(kind) {
        Some(boundary) => {
            let files = multipart::parts(&body, &boundary)?.into_iter().filter(|part| part.filename.is_some());
            let upload = |part: multipart::Part| Upload {
                filename: part.filename.unwrap_or_default(),
                claimed: part.content_type,
                bytes: part.bytes,
                posted_by: None,
            };
            files.map(upload).collect()
        }
        None => {
            let file: NewAttachment = serde_json::from_slice(&body)
                .map_err(|e| Error::invalid(format!("The body is not as expected: {e}")))?;
            if let Some(message) = file.message_id {
                let call = during.of(&app, &identity);
                let known = call.and_then(|call| call.name(&format!("attachments/{message}"), key.as_deref()));
                let known = known.or_else(|| Some(identity.idempotency("attachments", key.as_deref()?)));
                let id = known.map_or_else(Uuid::now_v7, |name| Uuid::new_v5(&Uuid::nil(), name.as_bytes()));
                let given = give(&app, &identity, message, id, file).await?;
                return Ok((StatusCode::CREATED, Json(vec![given])));
            }
            if file.url.is_some() || !file.metadata.is_empty() {
                let message = "url, metadata: they are kept with a message: name it by `message_id`";
                return Err(Error::invalid(message));
            }
            vec![decoded(file)?]
        }
    };
    if uploads.is_empty() {
        return Err(Error::invalid("There is no file in the body"));
    }
    Ok((StatusCode::CREATED, Json(keep(&app, uploads).await?)))
}

/// Gives a file to a message that is there already.
async fn give(app: &App, identity: &Identity, message: Uuid, id: Uuid, file: NewAttachment) -> Result<Attached> {
    super::has_room(app)?;
    let missing_message = || Error::not_found(format!("There is no message {message}"));
    let row = app.store.message(message).await?.ok_or_else(missing_message)?;
    sessions::usable(app, identity, row.session_id).await?;
    let before = attachments::of(row.metadata.as_deref());
    if let Some(before) = before.iter().find(|before| before.id == id) {
        return Ok(before.clone());
    }
    let attached = listed(app, id, read(id, file)?).await?;
    let shown = serde_json::to_string(&attached).map_err(Error::internal)?;
    match app.store.give_attachment(message, attached.id, shown, MOST).await? {
        Given::Done => Ok(attached),
        Given::Before(before) => serde_json::from_str(&before).map_err(Error::internal),
        Given::NoMessage => Err(missing_message()),
        Given::Full => Err(Error::conflict(format!("The message {message} has {MOST} attachments, which is the most"))),
    }
}

/// What was sent of one file, looked at and found good.
enum Sent {
    /// One that is here already.
    Known(Uuid),
    Elsewhere(Attached),
    Bytes(Upload, &'static str),
}

fn read(id: Uuid, mut file: NewAttachment) -> Result<(Sent, Map<String, Value>)> {
    let metadata = std::mem::take(&mut file.metadata);
    if Value::Object(metadata.clone()).to_string().len() > MOST_METADATA {
        return Err(Error::invalid(format!("attachments.metadata: it has at most {} kB", MOST_METADATA >> 10)));
    }
    let sent = match file.id {
        Some(known) => Sent::Known(known),
        None if file.url.is_some() => Sent::Elsewhere(elsewhere(id, file)?),
        None => {
            let upload = decoded(file)?;
            let mime = attachments::check(&upload).map_err(|refusal| refused(&upload.filename, refusal))?;
            Sent::Bytes(upload, mime)
        }
    };
    Ok((sent, metadata))
}

/// One file as its message lists it. Its bytes, if it has some, are kept under the id.
async fn listed(app: &App, id: Uuid, (sent, metadata): (Sent, Map<String, Value>)) -> Result<Attached> {
    let attached = match sent {
        Sent::Known(known) => Attached::of(&app.store.claim_attachment(known).await?.ok_or_else(|| missing(known))?),
        Sent::Elsewhere(attached) => attached,
        Sent::Bytes(upload, mime) => match app.store.attachment(id).await? {
            Some(kept) => Attached::of(&kept),
            None => attachments::keep(app, id, upload, mime).await?,
        },
    };
    Ok(Attached { metadata, ..attached })
}

/// A file that lies somewhere else.
fn elsewhere(
    id: Uuid,
    NewAttachment { filename, mime_type, data, url, size_bytes, .. }: NewAttachment,
) -> Result<Attached> {
    let url = url.unwrap_or_default();
    if data.is_some() {
        return Err(Error::invalid("attachments: one has `data` or a `url`, not both"));
    }
    let wrong = || Error::invalid("attachments.url: it is an address that begins with https:// or http://");
    let address: url::Url = url.parse().map_err(|_| wrong())?;
    if !["http", "https"].contains(&address.scheme()) || url.len() > LONGEST_URL {
        return Err(wrong());
    }
    if !address.username().is_empty() || address.password().is_some() {
        return Err(Error::invalid("attachments.url: everybody who reads the message sees it; leave the password out"));
    }
    let mime_type = mime_type.unwrap_or_else(|| "application/octet-stream".into()).to_ascii_lowercase();
    let is_mime = |c: char| c.is_ascii_alphanumeric() || "/+-._; =".contains(c);
    if mime_type.len() > 127 || !mime_type.chars().all(is_mime) {
        return Err(Error::invalid("attachments.mime_type: it is written as `image/png`"));
    }
    let filename = attachments::plain_name(filename.as_deref().unwrap_or_else(|| address.path()));
    let size_bytes = size_bytes.unwrap_or_default().into();
    Ok(Attached { id, filename, mime_type, size_bytes, url: address.into(), metadata: Map::new() })
}

/// Show what is known of an attachment
#[utoipa::path(get, path = "/api/v1/attachments/{id}", tag = "attachments", params(("id" = Uuid, Path)), responses((status = 200, body = Attached)))]
pub async fn show(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Json<Attached>> {
    Ok(Json(Attached::of(&find(&app, id).await?)))
}

/// The bytes of an attachment
///
/// Only images are shown in place; everything else is a download. Nothing in it is run.
#[utoipa::path(get, path = "/api/v1/attachments/{id}/content", tag = "attachments", params(("id" = Uuid, Path)), responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn content(State(app): State<Arc<App>>, Ids(id): Id) -> Result<Response> {
    let row = find(&app, id).await?;
    let bytes = attachments::read(&app, &row).await.map_err(|e| {
        tracing::error!(attachment = %id, "An attachment cannot be read: {e}");
        Error::not_found(format!("The bytes of attachment {id} are not there any more"))
    })?;
    let mime = match row.mime_type.as_str() {
        "text/plain" => "text/plain; charset=utf-8",
        other => other,
    };
    let way = if row.mime_type.starts_with("image/") { "inline" } else { "attachment" };
    let name: String = url::form_urlencoded::byte_serialize(row.filename.as_bytes()).collect();
    let headers = [
        (header::CONTENT_TYPE, mime.to_owned()),
        (header::CONTENT_DISPOSITION, format!("{way}; filename*=UTF-8''{}", name.replace('+', "%20"))),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox".to_owned()),
        (header::CACHE_CONTROL, "private, max-age=86400, immutable".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

/// The attachments that come with a message: those known by id, and new ones, which are kept.
pub async fn with_message(app: &App, files: Vec<NewAttachment>) -> Result<Vec<Attached>> {
    if files.len() > MOST {
        return Err(Error::invalid(format!("attachments: a message has at most {MOST}")));
    }
    if files.iter().any(|file| file.message_id.is_some()) {
        return Err(Error::invalid("attachments.message_id: they come with this message; leave it out"));
    }
    if files.is_empty() {
        return Ok(Vec::new());
    }
    super::has_room(app)?;
    // All are looked at before the first is kept.
    let new = files.into_iter().map(|file| {
        let id = Uuid::now_v7();
        Ok((id, read(id, file)?))
    });
    let new: Vec<_> = new.collect::<Result<_>>()?;
    let mut attached = Vec::new();
    for (id, sent) in new {
        attached.push(listed(app, id, sent).await?);
    }
    Ok(attached)
}

/// Bytes in base64, as JSON carries them.
pub fn base64(field: &str, text: &str) -> Result<bytes::Bytes> {
    let plain = text.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")).map_or(text, |(_, data)| data);
    let plain: String = plain.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    BASE64.decode(plain).map(Into::into).map_err(|_| Error::invalid(format!("{field}: it is not base64")))
}

/// All are looked at before the first is kept.
async fn keep(app: &App, uploads: Vec<Upload>) -> Result<Vec<Attached>> {
    super::has_room(app)?;
    if uploads.len() > MOST {
        return Err(Error::invalid(format!("At most {MOST} files are taken at once")));
    }
    let checked = uploads.into_iter().map(|upload| match attachments::check(&upload) {
        Ok(mime) => Ok((upload, mime)),
        Err(refusal) => Err(refused(&upload.filename, refusal)),
    });
    let checked: Vec<_> = checked.collect::<Result<_>>()?;
    let mut attached = Vec::new();
    for (upload, mime) in checked {
        attached.push(attachments::keep(app, Uuid::now_v7(), upload, mime).await?);
    }
    Ok(attached)
}

fn decoded(file: NewAttachment) -> Result<Upload> {
    let Some(data) = file.data else {
        let message = "attachments: each has `data` in base64, a `url`, or the `id` of one that was sent before";
        return Err(Error::invalid(message));
    };
    let bytes = base64("attachments.data", &data)?;
    Ok(Upload { filename: file.filename.unwrap_or_default(), claimed: file.mime_type, bytes, posted_by: None })
}

fn refused(name: &str, refusal: Refusal) -> Error {
    let name: String = name.chars().filter(|c| !c.is_control()).take(120).collect();
    match refusal {
        Refusal::Empty => Error::invalid(format!("The file `{name}` is empty")),
        Refusal::TooLarge => {
            Error::too_large(format!("The file `{name}` has more than {} MB, which is the most", LARGEST >> 20))
        }
        Refusal::Unknown => Error::unsupported(format!(
            "The file `{name}` is of no type that is taken: images, PDF, sound, video, zip archives and text in UTF-8 are"
        )),
        Refusal::Lies(claimed, is) => {
            Error::unsupported(format!("The file `{name}` says that it is {claimed}, its content says {is}"))
        }
    }
}

async fn find(app: &App, id: Uuid) -> Result<tercel_store::Attachment> {
    app.store.attachment(id).await?.ok_or_else(|| missing(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found(format!("There is no attachment {id}; what belongs to no message is kept for a day"))
}
