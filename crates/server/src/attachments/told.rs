//! What models learn of the files of a conversation: each by its name, texts by their words, pictures by being shown.

use super::{Attached, of, read};
use crate::app::App;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use std::{collections::HashMap, io};
use tercel_agent::fence;
use tercel_sdk::chat::Image;
use tercel_store::{Message, Uuid};

/// Characters of a text that the model is told.
const TOLD: usize = 20_000;
/// The types of pictures that all providers take.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// Bytes of one picture: in base64 these are the 5 MB that every provider takes.
const LARGEST_SHOWN: usize = 15 << 18;
/// Pictures of earlier messages are shown again while they are among so many newest ones.
const EARLIER: usize = 10;

/// What may still be shown in one request.
pub struct Room {
    pictures: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { pictures: 10, bytes: 12 << 20 }
    }
}

/// What the model is given of the message that it answers.
#[derive(Default)]
pub struct Told {
    pub text: String,
    pub images: Vec<Image>,
    /// There is something in it that anybody may have made.
    pub is_foreign: bool,
}

/// One line for each, as the model reads it.
pub fn listed(metadata: Option<&str>) -> String {
    of(metadata).iter().map(line).collect()
}

pub async fn told(app: &App, metadata: Option<&str>, room: &mut Room) -> Told {
    let mut told = Told::default();
    for attached in of(metadata) {
        told.text.push_str(&line(&attached));
        if is_picture(&attached) {
            match picture(app, &attached, room).await {
                Ok(image) => {
                    told.images.push(image);
                    told.is_foreign = true;
                }
                Err(why) => told.text.push_str(&format!("\n[{why}]")),
            }
        } else if attached.mime_type == "text/plain" && !attached.is_elsewhere() {
            match bytes(app, &attached).await {
                Ok(bytes) => {
                    told.text.push_str(&words(&bytes));
                    told.is_foreign = true;
                }
                Err(why) => told.text.push_str(&format!("\n[{why}]")),
            }
        }
    }
    told
}

/// The pictures of earlier messages that are shown again, the newest first as far as there is room.
pub async fn shown(app: &App, history: &[Message], room: &mut Room) -> HashMap<Uuid, Vec<Image>> {
    let mut shown = HashMap::new();
    for message in history.iter().rev().take(EARLIER).filter(|message| message.role == "user") {
        let mut images = Vec::new();
        for attached in of(message.metadata.as_deref()).iter().filter(|attached| is_picture(attached)) {
            images.extend(picture(app, attached, room).await);
        }
        if !images.is_empty() {
            shown.insert(message.id, images);
        }
    }
    shown
}

/// # Errors
/// Why it is not taken: in words that a person can act on.
pub fn image(mime_type: &str, bytes: &[u8]) -> Result<Image, String> {
    if !PICTURES.contains(&mime_type) {
        return Err(format!("it is {mime_type}; pictures are PNG, JPEG, GIF or WebP"));
    }
    match bytes.len() > LARGEST_SHOWN {
        true => Err("it is larger than the 3.75 MB that can be shown to a model".into()),
        false => Ok(Image { mime_type: mime_type.into(), base64: BASE64.encode(bytes).into() }),
    }
}

fn is_picture(attached: &Attached) -> bool {
    !attached.is_elsewhere() && PICTURES.contains(&attached.mime_type.as_str())
}

async fn picture(app: &App, attached: &Attached, room: &mut Room) -> Result<Image, String> {
    let size = usize::try_from(attached.size_bytes).unwrap_or(usize::MAX);
    if size > LARGEST_SHOWN {
        return Err("You cannot be shown it: it is larger than 3.75 MB.".into());
    }
    if room.pictures == 0 || room.bytes < size {
        return Err("You cannot be shown it: there are too many pictures.".into());
    }
    let image = image(&attached.mime_type, &bytes(app, attached).await?)?;
    room.pictures -= 1;
    room.bytes -= size;
    Ok(image)
}

async fn bytes(app: &App, attached: &Attached) -> Result<Bytes, String> {
    let row = app.store.attachment(attached.id).await.ok().flatten();
    let read = match &row {
        Some(row) => read(app, row).await,
        None => Err(io::ErrorKind::NotFound.into()),
    };
    read.map_err(|error| {
        tracing::warn!(attachment = %attached.id, "An attachment cannot be read: {error}");
        "It cannot be read any more.".to_owned()
    })
}

fn words(bytes: &[u8]) -> String {
    let words = String::from_utf8_lossy(bytes);
    let shown: String = words.chars().take(TOLD).collect();
    let cut = match shown.len() < words.len() {
        true => format!("\n[The attachment was cut: these are its first {TOLD} characters.]"),
        false => String::new(),
    };
    format!("\n{}{cut}", fence::untrusted(&shown))
}

fn line(attached: &Attached) -> String {
    let Attached { filename, mime_type, size_bytes, url, .. } = attached;
    match attached.is_elsewhere() {
        true => format!("\n[Attachment: {filename} ({mime_type}), which is at {url}]"),
        false => format!("\n[Attachment: {filename} ({mime_type}, {size_bytes} bytes)]"),
    }
}
