//! API keys: hashed, scoped, shown once.

use crate::{
    Error, Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct ApiKey {
    pub id: Uuid,
    pub name: String,
    /// SHA-256 of the key.
    pub hash: Vec<u8>,
    /// The first characters, to tell keys apart.
    pub prefix: String,
    /// Separated by blanks.
    pub scopes: String,
    pub created_at: i64,
    pub revoked_at: Option<i64>,
}

record!(ApiKey { id, name, hash, prefix, scopes, created_at, revoked_at });

enum Change {
    Create(ApiKey),
    Revoke(Uuid),
}

impl Write for Change {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for change in group {
            answers.push(match change {
                Self::Create(key) => {
                    let sql = "INSERT INTO api_keys (id, name, hash, prefix, scopes, created_at) \
                               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
                    let row = list![key.id, &key.name, key.hash.clone(), &key.prefix, &key.scopes, now()];
                    match connection.run(sql, row).await? {
                        0 => Err(Error::Conflict(
                            "This key was made before and cannot be shown again; revoke it and make another".into(),
                        )),
                        _ => Ok(()),
                    }
                }
                Self::Revoke(id) => {
                    let sql = "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1";
                    match connection.run(sql, list![*id, now()]).await? {
                        0 => Err(Error::NotFound(format!("There is no key {id}"))),
                        _ => Ok(()),
                    }
                }
            });
        }
        Ok(answers)
    }
}

impl Store {
    /// # Errors
    /// [`Error::Conflict`] when there is one with this id.
    pub async fn create_key(&self, key: ApiKey) -> Result<()> {
        self.writer.write(Change::Create(key)).await
    }

    pub async fn revoke_key(&self, id: Uuid) -> Result<()> {
        self.writer.write(Change::Revoke(id)).await
    }

    /// Revoked ones included, newest first.
    pub async fn keys(&self) -> Result<Vec<ApiKey>> {
        let sql = "SELECT id, name, hash, prefix, scopes, created_at, revoked_at FROM api_keys ORDER BY id DESC";
        self.engine.read(sql, list![]).await
    }
}
