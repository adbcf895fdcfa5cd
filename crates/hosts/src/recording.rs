//! Real exchanges with a service, kept without secrets: what a part asked, what it was answered, what it made of that.
//! Played back, they show offline whether a folder still does what it did.

mod play;
mod take;

pub use play::{Wrong, reads, recordings, replay};
pub use take::Recorder;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
use tercel_sdk::{
    Cursor, Dispatcher, Error, Host, Integration, Kind, Mode, Outbound, Result, Target, Trust,
    grant::Tokens,
    host::{Context, Ids},
    http::Transport,
    sync::{Change, Part, Push, Pushed, Record},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Below a folder.
pub const PLACE: &str = "fixtures/recorded";
/// What a secret has in a recording.
pub const REDACTED: &str = "redacted";
/// How long a part may take.
const LIMIT: Duration = Duration::from_secs(60);

/// One call of a part, with all that was said meanwhile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    pub call: Call,
    /// Values of the fields that are no secrets.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    pub exchanges: Vec<Exchange>,
    pub result: Value,
}

/// Which part is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    Test,
    Tool {
        name: String,
        arguments: Value,
    },
    Poll {
        name: String,
    },
    Deliver {
        target: Map<String, Value>,
        text: String,
    },
    /// All that a record can have done to it, one after the other.
    Push {
        record: Value,
    },
}

/// A request and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    pub request: Request,
    pub response: Response,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: String,
    /// Without the host, which may be another one elsewhere.
    pub path: String,
    /// JSON, else text; null when there is none.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub status: u16,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

impl Call {
    /// The file that it is kept in.
    pub fn file(&self) -> PathBuf {
        let name = match self {
            Self::Test => "test".to_owned(),
            Self::Tool { name, .. } => name.clone(),
            Self::Poll { name } => format!("poll.{name}"),
            Self::Deliver { .. } => "deliver".to_owned(),
            Self::Push { .. } => "push".to_owned(),
        };
        PathBuf::from(PLACE).join(format!("{name}.json"))
    }

    /// Calls the part.
    ///
    /// # Errors
    /// As the part fails; `not_found` when there is none.
    pub async fn make(&self, integration: &Integration, host: Host) -> Result<Value> {
        let none = |what: String| Error::new(Kind::NotFound, format!("`{}` has no {what}", integration.name));
        match self {
            Self::Test => {
                let connector = integration.connector.clone().ok_or_else(|| none("test".into()))?;
                connector(host, Value::Null.into()).await
            }
            Self::Tool { name, arguments } => {
                let tool = integration.tools.iter().find(|tool| &tool.name == name);
                let tool = tool.ok_or_else(|| none(format!("tool `{name}`")))?;
                (tool.handler)(host, arguments.clone().into()).await
            }
            Self::Poll { name } => {
                let poll = integration.polls.iter().find(|poll| &poll.name == name);
                let poll = poll.ok_or_else(|| none(format!("poll `{name}`")))?;
                (poll.handler)(host, serde_json::to_value(Cursor::default())?.into()).await
            }
            Self::Deliver { target, text } => {
                let dispatcher = integration.dispatchers.get(&integration.name);
                let dispatcher = dispatcher.ok_or_else(|| none("dispatcher".into()))?;
                let target = Target::new(&integration.name, Value::Object(target.clone()));
                (dispatcher.deliver)(host, Dispatcher::call(&target, &outbound(text))).await
            }
            Self::Push { record } => {
                let part = integration.sync.as_ref().ok_or_else(|| none("sync".into()))?;
                push(part, host, record).await
            }
        }
    }
}

/// Creates a record, looks for it, changes it and, where that is possible, removes it again.
async fn push(part: &Part, host: Host, record: &Value) -> Result<Value> {
    let key = "recorded";
    let row = match &part.rows {
        Some(rows) => {
            let records = [Record { key: key.into(), record: record.clone() }];
            let mut rows: Vec<Value> = serde_json::from_value(rows(host.clone(), json!(records).into()).await?)?;
            rows.pop().ok_or_else(|| Error::schema("There is no row for the record"))?
        }
        None => record.clone(),
    };
    let of = |change, remote_id| Push { id: key.into(), key: key.into(), change, remote_id, row: row.clone() };
    let send = async |push: Push| {
        let done = (part.push)(host.clone(), json!([push]).into()).await?;
        let done: Vec<Pushed> = serde_json::from_value(done)?;
        let one =
            done.into_iter().next().ok_or_else(|| Error::schema("Nothing is said of what became of the record"))?;
        one.error.map_or(Ok(one.remote_id), Err)
    };
    let created = send(of(Change::Create, None)).await?;
    let found = match &part.find {
        Some(find) => find(host.clone(), json!(of(Change::Create, None)).into()).await?,
        None => Value::Null,
    };
    let changed = send(of(Change::Update, created.clone())).await?;
    if part.deletes {
        send(of(Change::Delete, changed.clone().or_else(|| created.clone()))).await?;
    }
    Ok(json!({"row": row, "created": created, "found": found, "changed": changed, "removed": part.deletes}))
}

/// A post that belongs to no run.
fn outbound(text: &str) -> Outbound {
    Outbound {
        id: Uuid::nil(),
        marker: "recorded".into(),
        text: text.into(),
        part: 1,
        parts: 1,
        attempt: 1,
        bot_id: "default".into(),
        bot_name: None,
        task_id: None,
        session_id: None,
        created_at: "2026-01-01T00:00:00Z".into(),
        client_actions: Vec::new(),
    }
}

/// A host with these values, that way out, and those tokens.
pub fn host(
    integration: &Integration,
    values: BTreeMap<String, String>,
    transport: Arc<dyn Transport>,
    tokens: Option<Arc<dyn Tokens>>,
) -> Host {
    Host::new(Context {
        integration: integration.name.clone(),
        connection: "default".into(),
        call: Uuid::nil(),
        fields: Arc::new(values),
        names: Arc::new(integration.fields.iter().map(|field| (field.key.clone(), field.env.clone())).collect()),
        account: None,
        ids: Ids::default(),
        mode: Mode::Live,
        trust: Trust::Trusted,
        idempotency_key: Some("recorded".into()),
        deadline: Some(std::time::Instant::now() + LIMIT),
        cancel: CancellationToken::new(),
        transport,
        tokens,
        state: PathBuf::new(),
    })
}

/// A body as it is kept.
fn kept(body: &[u8]) -> Value {
    match serde_json::from_slice(body) {
        Ok(json) => json,
        Err(_) if body.is_empty() => Value::Null,
        Err(_) => String::from_utf8_lossy(body).into_owned().into(),
    }
}
