//! Files that come with messages: taken by what is in them, kept beside the database, told to the model.

mod loose;
mod told;

pub use loose::{let_go, sweep};
pub use told::{Room, image, listed, shown, told};

use crate::app::App;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::{
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
};
use tercel_store::{Attachment, Uuid, now};

/// Bytes of one file.
pub const LARGEST: usize = 20 << 20;
/// Files of one message.
pub const MOST: usize = 10;

/// An attachment as messages have it, in their metadata.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Attached {
    pub id: Uuid,
    pub filename: String,
    /// As the bytes say, whatever the name does.
    pub mime_type: String,
    pub size_bytes: i64,
    /// Where the bytes are: here, or elsewhere.
    #[serde(default)]
    pub url: String,
    /// What else is known of it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

/// A file that somebody sends.
pub struct Upload {
    pub filename: String,
    /// What the sender says it is.
    pub claimed: Option<String>,
    pub bytes: bytes::Bytes,
    pub posted_by: Option<String>,
}

#[derive(Debug, PartialEq)]
pub enum Refusal {
    Empty,
    TooLarge,
    /// Nobody here could look at it.
    Unknown,
    /// What it claims to be, and what it is.
    Lies(String, &'static str),
}

/// What it is, by its first bytes; and whether that is something that is taken.
///
/// # Errors
/// Why it is not.
pub fn check(upload: &Upload) -> Result<&'static str, Refusal> {
    if upload.bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    if upload.bytes.len() > LARGEST {
        return Err(Refusal::TooLarge);
    }
    let mime = sniff(&upload.bytes).ok_or(Refusal::Unknown)?;
    let claimed = upload.claimed.as_deref().unwrap_or_default().trim().to_ascii_lowercase();
    let claimed = claimed.split(';').next().unwrap_or_default().trim();
    match agree(claimed, mime) {
        true => Ok(mime),
        false => Err(Refusal::Lies(claimed.to_owned(), mime)),
    }
}

/// Writes the bytes to the disk, then the row. Bytes that are there already are not written again.
pub async fn keep(app: &App, id: Uuid, upload: Upload, mime: &'static str) -> anyhow::Result<Attached> {
    let hash = hex::encode(Sha256::digest(&upload.bytes));
    // Bytes that are let go are not those that are just found to be there.
    let _kept = app.files.read().await;
    let path = place(app, &hash);
    let size_bytes = upload.bytes.len() as i64;
    let bytes = upload.bytes.clone();
    tokio::task::spawn_blocking(move || write(&path, &bytes)).await??;
    let row = Attachment {
        id,
        hash,
        filename: plain_name(&upload.filename),
        mime_type: mime.into(),
        size_bytes,
        posted_by: upload.posted_by,
        created_at: now(),
    };
    app.store.put_attachment(row.clone()).await?;
    Ok(Attached::of(&row))
}

/// The bytes of an attachment.
///
/// # Errors
/// When they are not there any more, or are not those that were sent.
pub async fn read(app: &App, row: &Attachment) -> io::Result<bytes::Bytes> {
    let bytes = tokio::fs::read(place(app, &row.hash)).await?;
    match hex::encode(Sha256::digest(&bytes)) == row.hash {
        true => Ok(bytes.into()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "the file was changed on the disk")),
    }
}

/// The attachments of a message, out of its metadata.
pub fn of(metadata: Option<&str>) -> Vec<Attached> {
    let metadata: Option<Value> = metadata.and_then(|text| serde_json::from_str(text).ok());
    let list = metadata.and_then(|metadata| serde_json::from_value(metadata.get("attachments")?.clone()).ok());
    list.unwrap_or_default()
}

impl Attached {
    pub fn of(row: &Attachment) -> Self {
        Self {
            id: row.id,
            filename: row.filename.clone(),
            mime_type: row.mime_type.clone(),
            size_bytes: row.size_bytes,
            url: format!("/api/v1/attachments/{}/content", row.id),
            metadata: Map::new(),
        }
    }

    /// The bytes are not here, and nobody here asks for them.
    pub fn is_elsewhere(&self) -> bool {
        self.url.starts_with("http")
    }
}

fn directory(app: &App) -> PathBuf {
    app.config.data_dir.join("attachments")
}

fn place(app: &App, hash: &str) -> PathBuf {
    directory(app).join(&hash[..2]).join(hash)
}

/// All or nothing: a crash leaves at most a file that nobody names.
fn write(path: &std::path::Path, bytes: &[u8]) -> io::Result<()> {
    if path.metadata().is_ok_and(|file| file.len() == bytes.len() as u64) {
        return Ok(());
    }
    let directory = path.parent().expect("it has a directory");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(directory)?.sync_all()
}

/// The last part of a path, without what could be misread, and not endless.
pub fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control() && !is_turning(*c)).take(120).collect();
    match plain.trim().trim_matches('.') {
        "" => "file".into(),
        _ => plain.trim().into(),
    }
}

/// Characters that turn the direction of what follows: `gpj.exe` would look like `exe.jpg`.
fn is_turning(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub fn sniff(bytes: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, mark: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(mark));
    Some(match () {
        () if at(0, b"\x89PNG\r\n\x1a\n") => "image/png",
        () if at(0, b"\xff\xd8\xff") => "image/jpeg",
        () if at(0, b"GIF87a") || at(0, b"GIF89a") => "image/gif",
        () if at(0, b"RIFF") && at(8, b"WEBP") => "image/webp",
        () if at(0, b"RIFF") && at(8, b"WAVE") => "audio/wav",
        () if at(0, b"%PDF-") => "application/pdf",
        () if at(0, b"PK\x03\x04") => "application/zip",
        () if at(0, b"OggS") => "audio/ogg",
        () if at(0, b"fLaC") => "audio/flac",
        () if at(0, b"ID3") => "audio/mpeg",
        () if at(0, b"\xff\xfb") || at(0, b"\xff\xf3") || at(0, b"\xff\xf2") => "audio/mpeg",
        () if at(0, b"\x1aE\xdf\xa3") => "video/webm",
        () if at(4, b"ftypM4A") => "audio/mp4",
        () if at(4, b"ftyp") => "video/mp4",
        () if is_text(bytes) => "text/plain",
        () => return None,
    })
}

fn is_text(bytes: &[u8]) -> bool {
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1b');
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(odd))
}

/// Whether bytes of one type may be sent as another: many things are text or zip archives, and browsers do not always know.
fn agree(claimed: &str, mime: &str) -> bool {
    let is_medium = |name: &str| ["image/", "audio/", "video/"].iter().any(|kind| name.starts_with(kind));
    match claimed {
        "" | "application/octet-stream" => true,
        _ if claimed == mime => true,
        // Marked-up text that browsers would run is text here.
        "image/svg+xml" => mime == "text/plain",
        "image/jpg" | "image/pjpeg" => mime == "image/jpeg",
        _ if claimed.starts_with("audio/") || claimed.starts_with("video/") => {
            mime.starts_with("audio/") || mime.starts_with("video/")
        }
        _ if is_medium(claimed) || claimed == "application/pdf" => false,
        _ if mime == "application/zip" => claimed.starts_with("application/"),
        _ => mime == "text/plain",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(claimed: &str, bytes: &'static [u8]) -> Result<&'static str, Refusal> {
        let claimed = Some(claimed.to_owned());
        check(&Upload { filename: "x".into(), claimed, bytes: bytes.into(), posted_by: None })
    }

    #[test]
    fn files_are_for_the_server_alone() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("attachments/ab/abcdef");
        write(&file, b"text").unwrap();
        for path in [file.as_path(), file.parent().unwrap(), &place.path().join("attachments")] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
        }
    }

    #[test]
    fn the_content_says_what_it_is_and_a_claim_must_agree() {
        const PNG: &[u8] = b"\x89PNG\r\n\x1a\n....";
        assert_eq!(checked("", PNG), Ok("image/png"));
        assert_eq!(checked("image/png; charset=binary", PNG), Ok("image/png"));
        assert_eq!(
            checked("image/png", b"<script>alert(1)</script>"),
            Err(Refusal::Lies("image/png".into(), "text/plain"))
        );
        assert_eq!(checked("text/html", b"<script>alert(1)</script>"), Ok("text/plain"));
        assert_eq!(checked("image/svg+xml", b"<svg onload='x'/>"), Ok("text/plain"));
        assert_eq!(checked("text/plain", PNG), Err(Refusal::Lies("text/plain".into(), "image/png")));
        assert_eq!(checked("image/png", b"\x7fELF\x02\x01\x01\0"), Err(Refusal::Unknown));
        assert_eq!(checked("text/plain", b"MZ\x90\0\x03"), Err(Refusal::Unknown));
        assert_eq!(checked("", b""), Err(Refusal::Empty));
        assert_eq!(checked("application/json", b"{\"a\": 1}"), Ok("text/plain"));
        assert_eq!(checked("audio/webm", b"\x1aE\xdf\xa3...."), Ok("video/webm"));
    }

    #[test]
    fn a_name_is_a_name_and_no_path() {
        assert_eq!(plain_name("../../etc/passwd"), "passwd");
        assert_eq!(plain_name("C:\\dir\\a b.txt"), "a b.txt");
        assert_eq!(plain_name("\r\n.."), "file");
        assert_eq!(plain_name("photo\u{202e}gpj.exe"), "photogpj.exe");
        assert_eq!(plain_name(&"ü".repeat(500)).chars().count(), 120);
    }
}
