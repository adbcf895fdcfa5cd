//! What needs a person. Raising one that is open only counts it.

use crate::{
    Result, Store,
    engine::{Connection, list},
    now,
    writer::Write,
};
use sqlx::FromRow;
use uuid::Uuid;

#[derive(Debug, Clone, FromRow)]
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
    Raise(NewNotice),
    Close { key: String },
    Dismiss { id: Uuid },
}

impl Write for Change {
    type Answer = bool;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::new();
        for change in group {
            let changed = match change {
                Self::Raise(notice) => {
                    let sql = "INSERT INTO notices (id, key, severity, title, detail, repair, count, first_at, last_at) \
                               VALUES ($1, $2, $3, $4, $5, $6, 1, $7, $7) ON CONFLICT (key) WHERE closed_at IS NULL DO UPDATE SET \
                               count = notices.count + 1, detail = excluded.detail, last_at = excluded.last_at";
                    let args = list![
                        Uuid::now_v7(),
                        &notice.key,
                        notice.severity,
                        &notice.title,
                        &notice.detail,
                        &notice.repair,
                        now()
                    ];
                    connection.run(sql, args).await?
                }
                Self::Close { key } => {
                    connection
                        .run(
                            "UPDATE notices SET closed_at = $2 WHERE key = $1 AND closed_at IS NULL",
                            list![key, now()],
                        )
                        .await?
                }
                Self::Dismiss { id } => {
                    connection
                        .run("UPDATE notices SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL", list![*id, now()])
                        .await?
                }
            };
            answers.push(Ok(changed > 0));
        }
        Ok(answers)
    }
}

impl Store {
    pub async fn raise(&self, notice: NewNotice) -> Result<()> {
        self.writer.write(Change::Raise(notice)).await.map(drop)
    }

    /// Closes what is open under a key: its cause is gone.
    pub async fn close_notice(&self, key: &str) -> Result<bool> {
        self.writer.write(Change::Close { key: key.into() }).await
    }

    pub async fn dismiss_notice(&self, id: Uuid) -> Result<bool> {
        self.writer.write(Change::Dismiss { id }).await
    }

    /// Newest first.
    pub async fn notices(&self, open_only: bool, after: Option<Uuid>, limit: i64) -> Result<Vec<Notice>> {
        let sql = "SELECT id, key, severity, title, detail, repair, count, first_at, last_at, closed_at FROM notices \
                   WHERE (NOT $1 OR closed_at IS NULL) AND ($2 IS NULL OR id < $2) ORDER BY id DESC LIMIT $3";
        self.engine.read(sql, list![open_only, after, limit]).await
    }
}
