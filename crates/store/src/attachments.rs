//! Files that came with messages: what they are called and where their bytes lie.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    writer::Write,
};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub id: Uuid,
    /// SHA-256 of the bytes, in hex.
    pub hash: String,
    pub filename: String,
    /// As the bytes say.
    pub mime_type: String,
    pub size_bytes: i64,
    pub posted_by: Option<String>,
    pub created_at: i64,
}

record!(Attachment { id, hash, filename, mime_type, size_bytes, posted_by, created_at });

const COLUMNS: &str = "id, hash, filename, mime_type, size_bytes, posted_by, created_at";

struct Put(Attachment);

impl Write for Put {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let row = |put: &&Self| {
            let Attachment { id, hash, filename, mime_type, size_bytes, posted_by, created_at } = &put.0;
            list![*id, hash, filename, mime_type, *size_bytes, posted_by, *created_at]
        };
        let rows = group.iter().map(row).collect();
        connection.run_rows(&format!("INSERT INTO attachments ({COLUMNS}) VALUES"), rows, "").await?;
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    /// Notes a file whose bytes are on the disk already.
    pub async fn put_attachment(&self, attachment: Attachment) -> Result<()> {
        self.writer.write(Put(attachment)).await
    }

    pub async fn attachment(&self, id: Uuid) -> Result<Option<Attachment>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM attachments WHERE id = $1"), list![id]).await
    }
}
