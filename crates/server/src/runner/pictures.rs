//! Pictures that tools show: kept as files, shown to the model.

use crate::{
    app::App,
    attachments::{self, Upload},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde_json::Value;
use tercel_agent::{Committed, Picture, Step};
use tercel_sdk::chat::Image;
use tercel_store::Uuid;

/// Of one result.
const MOST: usize = 5;

/// Takes the `injected_images` out of what a tool answered: `[{"mime_type", "base64"}]`. What is said in their place tells
/// the model how many it is shown, and why not the others.
pub async fn take(app: &App, answer: &mut Value, message: Option<Uuid>) -> Vec<Picture> {
    let Some(injected) = answer.as_object_mut().and_then(|object| object.get_mut("injected_images")) else {
        return Vec::new();
    };
    let Value::Array(images) = injected.take() else { return Vec::new() };
    let (mut pictures, mut obstacles) = (Vec::new(), Vec::new());
    for (n, image) in images.iter().enumerate() {
        if pictures.len() == MOST {
            obstacles.push(format!("the other {} are too many for one result", images.len() - n));
            break;
        }
        match kept(app, image, message).await {
            Ok(picture) => pictures.push(picture),
            Err(why) => obstacles.push(why),
        }
    }
    let shown = match pictures.len() {
        0 => "none is shown".to_owned(),
        1 => "1 picture, shown below".to_owned(),
        count => format!("{count} pictures, shown below"),
    };
    *injected = std::iter::once(shown).chain(obstacles).collect::<Vec<_>>().join("; ").into();
    pictures
}

/// Reads the bytes of pictures that earlier attempts were shown.
pub async fn show(app: &App, steps: &mut [Committed]) {
    for committed in steps {
        let Step::Tool { output, .. } = &mut committed.step else { continue };
        for picture in &mut output.pictures {
            picture.image = read(app, &picture.id).await;
        }
    }
}

async fn read(app: &App, id: &str) -> Option<Image> {
    let row = app.store.attachment(id.parse().ok()?).await.ok()??;
    let bytes = attachments::read(app, &row).await.ok()?;
    attachments::image(&row.mime_type, &bytes).ok()
}

async fn kept(app: &App, image: &Value, message: Option<Uuid>) -> Result<Picture, String> {
    let text = image["base64"].as_str().or_else(|| image["data"].as_str()).unwrap_or_default();
    let bytes: Bytes = BASE64.decode(text.trim()).map_err(|_| "one is not base64".to_owned())?.into();
    let claimed = image["mime_type"].as_str().map(str::to_owned);
    let upload = Upload { filename: "picture".into(), claimed, bytes, posted_by: None };
    let mime = attachments::check(&upload).map_err(|_| "one is no picture, or not of the type it claims".to_owned())?;
    let image = attachments::image(mime, &upload.bytes).map_err(|why| format!("one is left out: {why}"))?;
    if crate::disk::is_full(app) {
        return Err("one could not be kept: the disk is almost full".into());
    }
    let not_kept = |error: &dyn std::fmt::Display| {
        tracing::error!("A picture that a tool showed could not be kept: {error}");
        "one could not be kept".to_owned()
    };
    let kept = attachments::keep(app, Uuid::now_v7(), upload, mime).await.map_err(|error| not_kept(&error))?;
    if let Some(message) = message {
        app.store.hold_attachment(kept.id, message).await.map_err(|error| not_kept(&error))?;
    }
    Ok(Picture { id: kept.id.to_string(), image: Some(image) })
}
