//! What needs a person. Raising one that is open only counts it.

use crate::{
    Announcement, Result, Store,
    announcements::{BRIEF, say},
    engine::{Connection, list, record},
    now,
    writer::{Bell, Write},
};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Notice {
    pub id: Uuid,
    pub key: String,
    pub severity: String,
    pub title: String,
    pub detail: String,
    pub repair: Option<String>,
    pub count: i64,
    pub first_at: i64,
    pub last_at: i64,
    pub closed_at: Option<i64>,
}

record!(Notice { id, key, severity, title, detail, repair, count, first_at, last_at, closed_at });

#[derive(Debug, Clone)]
pub struct NewNotice {
    /// Two notices with the same key are the same notice.
    pub key: String,
    /// `warning` or `error`.
    pub severity: &'static str,
    pub title: String,
    pub detail: String,
    /// What mends it.
    pub repair: Option<String>,
}

enum Change {
    Raise { id: Uuid, notice: NewNotice, by: Option<Announcement> },
    Close { key: String, by: Option<Announcement> },
    Dismiss { id: Uuid },
}

impl Write for Change {
    type Answer = bool;
    const WAKES: &'static [Bell] = &[Bell::Outbox];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::new();
        for change in group {
            let time = now();
            let changed = match change {
                Self::Raise { id, notice, by } => raise(*id, notice, by.as_ref(), connection, time).await?,
                Self::Close { key, by } => close(key, by.as_ref(), connection, time).await?,
                Self::Dismiss { id } => {
                    let sql = "UPDATE notices SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL";
                    connection.run(sql, list![*id, time]).await? > 0
                }
            };
            answers.push(Ok(changed));
        }
        Ok(answers)
    }
}

/// Answers whether it is a new one.
async fn raise(
    id: Uuid,
    notice: &NewNotice,
    by: Option<&Announcement>,
    connection: &mut Connection,
    time: i64,
) -> Result<bool> {
    let sql = "INSERT INTO notices (id, key, severity, title, detail, repair, count, first_at, last_at, told) \
               VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7, $8) ON CONFLICT (key) WHERE closed_at IS NULL DO UPDATE SET \
               count = notices.count + 1, detail = excluded.detail, last_at = excluded.last_at RETURNING count";
    let NewNotice { key, severity, title, detail, repair } = notice;
    let args = list![id, key, *severity, title, detail, repair, time, by.is_some()];
    let is_new = connection.first::<(i64,)>(sql, args).await? == Some((1,));
    if let Some(by) = by.filter(|_| is_new) {
        say(by, &by.row.text, &format!("{title}: {detail}"), connection, time).await?;
    }
    Ok(is_new)
}

/// Who was told of it is told that it is over.
async fn close(key: &str, by: Option<&Announcement>, connection: &mut Connection, time: i64) -> Result<bool> {
    let sql = "UPDATE notices SET closed_at = $2 WHERE key = $1 AND closed_at IS NULL RETURNING told, first_at, title, detail";
    let closed: Option<(bool, i64, String, String)> = connection.first(sql, list![key, time]).await?;
    let Some((told, first_at, title, detail)) = closed else { return Ok(false) };
    if let Some(by) = by.filter(|_| told && time - first_at > BRIEF) {
        let text = format!("Over: {title} ({detail})");
        say(by, &text, &text, connection, time).await?;
    }
    Ok(true)
}

impl Store {
    pub async fn raise(&self, notice: NewNotice) -> Result<()> {
        self.announce(Uuid::now_v7(), notice, None).await.map(drop)
    }

    /// The same; of a new one, people are told. Answers whether it is new.
    pub async fn announce(&self, id: Uuid, notice: NewNotice, by: Option<Announcement>) -> Result<bool> {
        self.writer.write(Change::Raise { id, notice, by }).await
    }

    /// Closes what is open under a key: its cause is gone.
    pub async fn close_notice(&self, key: &str) -> Result<bool> {
        self.close_announced(key, None).await
    }

    /// The same; who was told of it is told that it is over.
    pub async fn close_announced(&self, key: &str, by: Option<Announcement>) -> Result<bool> {
        self.writer.write(Change::Close { key: key.into(), by }).await
    }

    pub async fn dismiss_notice(&self, id: Uuid) -> Result<bool> {
        self.writer.write(Change::Dismiss { id }).await
    }

    pub async fn notice(&self, id: Uuid) -> Result<Option<Notice>> {
        let sql = "SELECT id, key, severity, title, detail, repair, count, first_at, last_at, closed_at FROM notices WHERE id = $1";
        self.engine.read_first(sql, list![id]).await
    }

    /// Newest first; only open ones, only closed ones, or all.
    pub async fn notices(&self, open: Option<bool>, after: Option<Uuid>, limit: i64) -> Result<Vec<Notice>> {
        let sql = "SELECT id, key, severity, title, detail, repair, count, first_at, last_at, closed_at FROM notices \
                   WHERE ($1 IS NULL OR $1 = (closed_at IS NULL)) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3";
        self.engine.read(sql, list![open, after, limit]).await
    }
}
