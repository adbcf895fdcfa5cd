//! Model providers with their keys. A key comes here sealed.

use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub id: String,
    /// `openai`, `anthropic`, `ollama`.
    pub kind: String,
    pub base_url: String,
    pub sealed_api_key: Option<String>,
    /// JSON list of names.
    pub models: String,
    /// JSON object, the server's to understand.
    pub defaults: String,
    pub updated_at: i64,
}

record!(Provider { id, kind, base_url, sealed_api_key, models, defaults, updated_at });

enum Change {
    Put(Provider),
    Delete(String),
}

impl Write for Change {
    type Answer = bool;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<bool>>> {
        let mut answers = Vec::new();
        for change in group {
            let changed = match change {
                Self::Put(provider) => {
                    let sql = "INSERT INTO providers (id, kind, base_url, sealed_api_key, models, defaults, updated_at) \
                               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, \
                               base_url = excluded.base_url, sealed_api_key = excluded.sealed_api_key, \
                               models = excluded.models, defaults = excluded.defaults, updated_at = excluded.updated_at";
                    let Provider { id, kind, base_url, sealed_api_key, models, defaults, .. } = provider;
                    let values = list![id, kind, base_url, sealed_api_key.clone(), models, defaults, now()];
                    connection.run(sql, values).await?
                }
                Self::Delete(id) => connection.run("DELETE FROM providers WHERE id = $1", list![id]).await?,
            };
            answers.push(Ok(changed > 0));
        }
        Ok(answers)
    }
}

impl Store {
    /// By their ids.
    pub async fn providers(&self) -> Result<Vec<Provider>> {
        let sql = "SELECT id, kind, base_url, sealed_api_key, models, defaults, updated_at FROM providers ORDER BY id";
        self.engine.read(sql, list![]).await
    }

    /// Makes or replaces one; `updated_at` is the time of the call.
    pub async fn put_provider(&self, provider: Provider) -> Result<()> {
        self.writer.write(Change::Put(provider)).await.map(drop)
    }

    /// Answers whether there was one.
    pub async fn delete_provider(&self, id: &str) -> Result<bool> {
        self.writer.write(Change::Delete(id.into())).await
    }
}
