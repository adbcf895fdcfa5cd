//! Lasting conversation places, and what is bound to them.

use crate::{
    Error, Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Channel {
    pub id: Uuid,
    pub client_id: String,
    pub bot_id: String,
    pub display_name: Option<String>,
    /// JSON object, the server's to understand.
    pub options: String,
    /// JSON, secrets sealed.
    pub sealed_target: Option<String>,
    pub created_at: i64,
}

record!(Channel { id, client_id, bot_id, display_name, options, sealed_target, created_at });

/// A place outside whose events reach a channel, and where its messages are shown.
#[derive(Debug, Clone)]
pub struct Binding {
    pub id: Uuid,
    pub channel_id: Uuid,
    pub client_id: String,
    pub display_name: Option<String>,
    /// JSON list of event names; absent: all of them.
    pub event_filter: Option<String>,
    /// JSON, secrets sealed.
    pub sealed_target: Option<String>,
    pub created_at: i64,
}

record!(Binding { id, channel_id, client_id, display_name, event_filter, sealed_target, created_at });

enum Change {
    Create(Channel),
    Update(Channel),
    Delete(Uuid),
    Bind(Binding),
    Unbind { channel: Uuid, binding: Uuid },
}

impl Write for Change {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for change in group {
            let (changed, otherwise) = match change {
                Self::Create(channel) => {
                    let sql = "INSERT INTO channels (id, client_id, bot_id, display_name, options, sealed_target, created_at) \
                               VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
                    let args = list![
                        channel.id,
                        &channel.client_id,
                        &channel.bot_id,
                        &channel.display_name,
                        &channel.options,
                        &channel.sealed_target,
                        now()
                    ];
                    (
                        connection.run(sql, args).await?,
                        Error::Conflict(format!("There is a channel `{}` already", channel.client_id)),
                    )
                }
                Self::Update(channel) => {
                    let sql = "UPDATE channels SET bot_id = $2, display_name = $3, options = $4, sealed_target = $5 WHERE id = $1";
                    let args = list![
                        channel.id,
                        &channel.bot_id,
                        &channel.display_name,
                        &channel.options,
                        &channel.sealed_target
                    ];
                    (connection.run(sql, args).await?, Error::NotFound(format!("There is no channel {}", channel.id)))
                }
                Self::Delete(id) => {
                    connection.run("DELETE FROM bindings WHERE channel_id = $1", list![*id]).await?;
                    let changed = connection.run("DELETE FROM channels WHERE id = $1", list![*id]).await?;
                    (changed, Error::NotFound(format!("There is no channel {id}")))
                }
                Self::Bind(binding) => {
                    let sql = "INSERT INTO bindings (id, channel_id, client_id, display_name, event_filter, sealed_target, created_at) \
                               SELECT $1, c.id, $3, $4, $5, $6, $7 FROM channels c WHERE c.id = $2 ON CONFLICT DO NOTHING";
                    let args = list![
                        binding.id,
                        binding.channel_id,
                        &binding.client_id,
                        &binding.display_name,
                        &binding.event_filter,
                        &binding.sealed_target,
                        now()
                    ];
                    let otherwise = Error::Conflict(format!(
                        "The channel is not there, or bound to `{}` already",
                        binding.client_id
                    ));
                    (connection.run(sql, args).await?, otherwise)
                }
                Self::Unbind { channel, binding } => {
                    let sql = "DELETE FROM bindings WHERE id = $1 AND channel_id = $2";
                    (
                        connection.run(sql, list![*binding, *channel]).await?,
                        Error::NotFound(format!("There is no binding {binding}")),
                    )
                }
            };
            answers.push(if changed > 0 { Ok(()) } else { Err(otherwise) });
        }
        Ok(answers)
    }
}

impl Store {
    pub async fn channels(&self) -> Result<Vec<Channel>> {
        let sql =
            "SELECT id, client_id, bot_id, display_name, options, sealed_target, created_at FROM channels ORDER BY id";
        self.engine.read(sql, list![]).await
    }

    pub async fn bindings(&self) -> Result<Vec<Binding>> {
        let sql = "SELECT id, channel_id, client_id, display_name, event_filter, sealed_target, created_at FROM bindings ORDER BY id";
        self.engine.read(sql, list![]).await
    }

    /// # Errors
    /// `Conflict` when its `client_id` is taken.
    pub async fn create_channel(&self, channel: Channel) -> Result<()> {
        self.writer.write(Change::Create(channel)).await
    }

    pub async fn update_channel(&self, channel: Channel) -> Result<()> {
        self.writer.write(Change::Update(channel)).await
    }

    /// With its bindings; its sessions stay.
    pub async fn delete_channel(&self, id: Uuid) -> Result<()> {
        self.writer.write(Change::Delete(id)).await
    }

    pub async fn bind(&self, binding: Binding) -> Result<()> {
        self.writer.write(Change::Bind(binding)).await
    }

    pub async fn unbind(&self, channel: Uuid, binding: Uuid) -> Result<()> {
        self.writer.write(Change::Unbind { channel, binding }).await
    }
}
