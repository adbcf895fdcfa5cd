//! Files that came with messages: what they are called, where their bytes lie, which messages have them.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};
use serde_json::{Map, Value};
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
/// That no message has it.
const IS_LOOSE: &str = "NOT EXISTS (SELECT 1 FROM attached t CROSS JOIN messages m WHERE t.attachment_id = attachments.id \
                        AND m.id = t.message_id)";

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

/// Notes which message has which file.
pub(crate) async fn attach(all: Vec<(Uuid, Uuid)>, connection: &mut Connection) -> Result<()> {
    let rows = all.into_iter().map(|(attachment, message)| list![attachment, message]).collect();
    let sql = "INSERT INTO attached (attachment_id, message_id) VALUES";
    connection.run_rows(sql, rows, " ON CONFLICT DO NOTHING").await
}

/// How giving a file to a message that is there already ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    Done,
    /// It has it already: as it is kept there.
    Before(String),
    NoMessage,
    /// It has as many as it may have.
    Full,
}

struct Give {
    message: Uuid,
    attachment: Uuid,
    /// JSON, as the message's metadata lists it.
    shown: String,
    most: usize,
}

impl Write for Give {
    type Answer = Given;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Given>>> {
        let mut answers = Vec::new();
        for give in group {
            answers.push(Ok(give.run_alone(connection).await?));
        }
        Ok(answers)
    }
}

impl Give {
    async fn run_alone(&self, connection: &mut Connection) -> Result<Given> {
        let sql = "SELECT metadata FROM messages WHERE id = $1";
        let Some((metadata,)) = connection.first::<(Option<String>,)>(sql, list![self.message]).await? else {
            return Ok(Given::NoMessage);
        };
        let mut metadata: Map<String, Value> = serde_json::from_str(metadata.as_deref().unwrap_or("{}"))?;
        let list = metadata.entry("attachments").or_insert_with(|| Value::Array(Vec::new()));
        let Some(list) = list.as_array_mut() else { return Ok(Given::Full) };
        let id = Value::from(self.attachment.to_string());
        if let Some(before) = list.iter().find(|one| one["id"] == id) {
            return Ok(Given::Before(before.to_string()));
        }
        if list.len() >= self.most {
            return Ok(Given::Full);
        }
        list.push(serde_json::from_str(&self.shown)?);
        let sql = "UPDATE messages SET metadata = $2 WHERE id = $1";
        connection.run(sql, list![self.message, Value::Object(metadata).to_string()]).await?;
        let sql = "INSERT INTO attached (attachment_id, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        connection.run(sql, list![self.attachment, self.message]).await?;
        Ok(Given::Done)
    }
}

struct Hold {
    attachment: Uuid,
    message: Uuid,
}

impl Write for Hold {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        attach(group.iter().map(|hold| (hold.attachment, hold.message)).collect(), connection).await?;
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

struct Claim(Uuid);

impl Write for Claim {
    type Answer = Option<Attachment>;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Option<Attachment>>>> {
        let mut answers = Vec::new();
        for Self(id) in group {
            let sql = format!("UPDATE attachments SET claimed_at = $2 WHERE id = $1 RETURNING {COLUMNS}");
            answers.push(Ok(connection.first(sql, list![*id, now()]).await?));
        }
        Ok(answers)
    }
}

struct Forget {
    ids: Vec<Uuid>,
    before: i64,
}

impl Write for Forget {
    type Answer = (u64, Vec<String>);

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<(u64, Vec<String>)>>> {
        let mut answers = Vec::new();
        for Self { ids, before } in group {
            let (mut gone, mut hashes) = (0, Vec::new());
            for id in ids {
                let sql = format!(
                    "DELETE FROM attachments WHERE id = $1 AND created_at < $2 AND claimed_at < $2 AND {IS_LOOSE} RETURNING hash"
                );
                let Some((hash,)) = connection.first::<(String,)>(sql, list![*id, *before]).await? else { continue };
                gone += 1;
                connection.run("DELETE FROM attached WHERE attachment_id = $1", list![*id]).await?;
                let sql = "SELECT hash FROM attachments WHERE hash = $1 LIMIT 1";
                if connection.first::<(String,)>(sql, list![&hash]).await?.is_none() {
                    hashes.push(hash);
                }
            }
            answers.push(Ok((gone, hashes)));
        }
        Ok(answers)
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

    /// Lists a file with a message that is there already. `shown` is JSON; the same id is listed once.
    pub async fn give_attachment(&self, message: Uuid, attachment: Uuid, shown: String, most: usize) -> Result<Given> {
        self.writer.write(Give { message, attachment, shown, most }).await
    }

    /// Keeps a file for as long as a message, without listing it there.
    pub async fn hold_attachment(&self, attachment: Uuid, message: Uuid) -> Result<()> {
        self.writer.write(Hold { attachment, message }).await
    }

    /// A file for a message that shall have it: it is not let go before the message is there.
    pub async fn claim_attachment(&self, id: Uuid) -> Result<Option<Attachment>> {
        self.writer.write(Claim(id)).await
    }

    /// Ids of files that came before a time, after that id, and that no message has.
    pub async fn loose_attachments(&self, before: i64, after: Uuid, limit: i64) -> Result<Vec<Uuid>> {
        let sql = format!(
            "SELECT id FROM attachments WHERE id > $2 AND created_at < $1 AND claimed_at < $1 AND {IS_LOOSE} ORDER BY id LIMIT $3"
        );
        let rows: Vec<(Uuid,)> = self.engine.read(sql, list![before, after, limit]).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Which of these hashes are of files that are noted.
    pub async fn known_hashes(&self, hashes: Vec<String>) -> Result<Vec<String>> {
        let mut known = Vec::new();
        for hash in hashes {
            let sql = "SELECT hash FROM attachments WHERE hash = $1 LIMIT 1";
            known.extend(self.engine.read_first::<(String,)>(sql, list![hash]).await?.map(|(hash,)| hash));
        }
        Ok(known)
    }

    /// Forgets those of them that still are so. Answers how many, and the hashes of bytes that nobody names any more.
    pub async fn forget_attachments(&self, ids: Vec<Uuid>, before: i64) -> Result<(u64, Vec<String>)> {
        self.writer.write(Forget { ids, before }).await
    }
}
