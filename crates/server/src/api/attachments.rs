//! Files for messages: sent before them or with them, shown without harm.

use super::{
    error::{Error, Result},
    multipart,
    request::{Id, Ids, Raw},
};
use crate::{
    app::App,
    attachments::{self, Attached, LARGEST, MOST, Refusal, Upload},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tercel_store::Uuid;

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
}

/// Send files to be attached to a message
///
/// `multipart/form-data` with one or more files, or JSON: `filename`, `mime_type`, `data` in base64.
#[utoipa::path(
    post,
    path = "/api/v1/attachments",
    tag = "attachments",
    request_body(content((NewAttachment = "application/json"), (Vec<u8> = "multipart/form-data"))),
    responses((status = 201, body = Vec<Attached>), (status = 415, description = "It is not of a type that is taken, or not of the one it claims")),
)]
pub async fn upload(
    State(app): State<Arc<App>>,
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
            vec![decoded(file)?]
        }
    };
    if uploads.is_empty() {
        return Err(Error::invalid("There is no file in the body"));
    }
    Ok((StatusCode::CREATED, Json(keep(&app, uploads).await?)))
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
    let (known, new): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.id.is_some());
    let uploads = new.into_iter().map(decoded).collect::<Result<_>>()?;
    let mut attached = Vec::new();
    for id in known.into_iter().filter_map(|file| file.id) {
        let claimed = app.store.claim_attachment(id).await?;
        attached.push(Attached::of(&claimed.ok_or_else(|| missing(id))?));
    }
    attached.extend(keep(app, uploads).await?);
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
        attached.push(attachments::keep(app, upload, mime).await?);
    }
    Ok(attached)
}

fn decoded(file: NewAttachment) -> Result<Upload> {
    let Some(data) = file.data else {
        return Err(Error::invalid("attachments: each has `data` in base64, or the `id` of one that was sent before"));
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
