//! How connections are kept in step, and when that happens by itself.

use super::{NewSync, OPEN};
use crate::{
    Result, Store,
    engine::{Connection, list, record},
    now,
    writer::{Bell, Write},
};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncSettings {
    pub integration: String,
    pub connection: String,
    /// JSON, the server's to understand.
    pub definition: String,
    /// Absent: it never happens by itself.
    pub next_at: Option<i64>,
    pub updated_at: i64,
}

record!(SyncSettings { integration, connection, definition, next_at, updated_at });

const COLUMNS: &str = "integration, connection, definition, next_at, updated_at";

/// A time that has come.
#[derive(Debug, Clone)]
pub struct DueSync {
    pub settings: SyncSettings,
    pub next_at: Option<i64>,
    /// Absent: this time nothing happens.
    pub sync: Option<NewSync>,
}

impl Write for DueSync {
    /// The sync that was begun. None while another one of the connection is open, or when the settings were changed.
    type Answer = Option<Uuid>;
    const WAKES: &'static [Bell] = &[Bell::Syncs];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Self::Answer>>> {
        let mut answers = Vec::with_capacity(group.len());
        for due in group {
            let settings = &due.settings;
            let sql = "UPDATE sync_settings SET next_at = $5 WHERE integration = $1 AND connection = $2 AND updated_at = $3 \
                       AND next_at = $4";
            let args =
                list![&settings.integration, &settings.connection, settings.updated_at, settings.next_at, due.next_at];
            if connection.run(sql, args).await? == 0 {
                answers.push(Ok(None));
                continue;
            }
            let Some(sync) = &due.sync else {
                answers.push(Ok(None));
                continue;
            };
            let sql = format!("SELECT id FROM syncs WHERE {OPEN} AND integration = $1 AND connection = $2 LIMIT 1");
            let open: Option<(Uuid,)> = connection.first(sql, list![&sync.integration, &sync.connection]).await?;
            answers.push(match open {
                Some(_) => Ok(None),
                None => sync.start(connection).await?.map(|_| Some(sync.id)),
            });
        }
        Ok(answers)
    }
}

enum Change {
    Put(SyncSettings),
    Delete(String, String),
}

impl Write for Change {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        for change in group {
            match change {
                Self::Put(new) => {
                    let sql = format!(
                        "INSERT INTO sync_settings ({COLUMNS}) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (integration, connection) \
                         DO UPDATE SET definition = excluded.definition, next_at = excluded.next_at, updated_at = excluded.updated_at"
                    );
                    let args = list![&new.integration, &new.connection, &new.definition, new.next_at, now()];
                    connection.run(sql, args).await?;
                }
                Self::Delete(integration, name) => {
                    let sql = "DELETE FROM sync_settings WHERE integration = $1 AND connection = $2";
                    connection.run(sql, list![integration, name]).await?;
                }
            }
        }
        Ok(group.iter().map(|_| Ok(())).collect())
    }
}

impl Store {
    pub async fn sync_settings(&self) -> Result<Vec<SyncSettings>> {
        self.engine.read(format!("SELECT {COLUMNS} FROM sync_settings"), list![]).await
    }

    pub async fn sync_settings_of(&self, integration: &str, connection: &str) -> Result<Option<SyncSettings>> {
        let sql = format!("SELECT {COLUMNS} FROM sync_settings WHERE integration = $1 AND connection = $2");
        self.engine.read_first(sql, list![integration, connection]).await
    }

    pub async fn put_sync_settings(&self, settings: SyncSettings) -> Result<()> {
        self.writer.write(Change::Put(settings)).await
    }

    pub async fn delete_sync_settings(&self, integration: &str, connection: &str) -> Result<()> {
        self.writer.write(Change::Delete(integration.into(), connection.into())).await
    }

    /// Moves a time on that has come, and begins its sync unless one of the connection is open.
    pub async fn fire_sync(&self, due: DueSync) -> Result<Option<Uuid>> {
        self.writer.write(due).await
    }
}
