//! How an answer leaves: the target, one part of the text, the receipt.

use crate::{Call, Error, FromHost, Handler, Host, Result, text::Unit};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::{future::Future, sync::Arc, time::Duration};
use uuid::Uuid;

/// What a target says that wants answers while they are written, where the dispatcher can do that.
pub const STREAM: &str = "stream";

/// Where an answer goes: `dispatch_config` with its `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    #[serde(rename = "type")]
    pub kind: String,
    /// Which of several connections it leaves by; the usual one when absent. Dispatchers see it in their host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// What else the dispatcher needs, as the service names it.
    #[serde(flatten)]
    pub config: Map<String, Value>,
}

impl Target {
    /// A target of the given dispatch type; `config` is a JSON object.
    pub fn new(kind: &str, config: Value) -> Self {
        let config = match config {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        Self { kind: kind.into(), connection: None, config }
    }

    /// Whether answers are shown there while they are written.
    pub fn is_streamed(&self) -> bool {
        self.config.get(STREAM) == Some(&Value::Bool(true))
    }
}

/// One part of one answer, about to leave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outbound {
    /// Id of the outbox row: the same for every attempt.
    pub id: Uuid,
    /// To be put into the text where people do not see it, so that `find` and the webhook know our own posts.
    /// An HMAC of the row id: nobody else can make one.
    pub marker: String,
    pub text: String,
    /// From 1.
    pub part: u32,
    pub parts: u32,
    /// From 1.
    pub attempt: u32,
    pub bot_id: String,
    /// What people call the bot, when it has such a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bot_name: Option<String>,
    pub task_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    /// When the row was made, RFC 3339: `find` need not look further back.
    pub created_at: String,
    /// What tools of the run ask the client to do. They come with the last part.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_actions: Vec<Value>,
}

/// Proof that a part arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The service's id of what was made there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// A call that waits for a person's yes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    pub id: Uuid,
    pub bot_id: String,
    pub tool: String,
    pub arguments: Value,
    /// Why it asks.
    pub reason: String,
}

/// A dispatcher part.
#[derive(Clone)]
pub struct Dispatcher {
    pub deliver: Handler,
    /// Looks for a post whose acknowledgement was lost.
    pub find: Option<Handler>,
    /// Gives a post of ours another text: with it, a target may have `stream: true`.
    pub update: Option<Handler>,
    /// Told that a run for this target has begun. Out comes the target as it is from then on.
    pub start: Option<Handler>,
    /// Asks the people at the target for an approval.
    pub approval: Option<Handler>,
    /// How long one post may be, without the marker.
    pub limit: usize,
    /// What is counted for that.
    pub unit: Unit,
    /// The service recognises a repetition by the row id: an unknown outcome is simply tried again.
    pub idempotent: bool,
    /// How long an answer is worth sending; one that could not leave until then is shown as expired. `None`: for ever.
    pub shelf_life: Option<Duration>,
}

/// A dispatcher from `fn(host, target, outbound) -> Result<Receipt>`. `target` is read from the `dispatch_config`.
pub fn dispatcher<H, T, F, Fut>(deliver: F) -> Dispatcher
where
    H: FromHost,
    T: DeserializeOwned + Send + 'static,
    F: Fn(H, T, Outbound) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<Receipt>> + Send + 'static,
{
    Dispatcher {
        deliver: erase_delivery(deliver),
        find: None,
        update: None,
        start: None,
        approval: None,
        limit: usize::MAX,
        unit: Unit::Characters,
        idempotent: false,
        shelf_life: None,
    }
}

impl Dispatcher {
    /// `fn(host, target, outbound) -> Result<Option<Receipt>>`: what became of a post that nobody acknowledged.
    pub fn find<H, T, F, Fut>(mut self, find: F) -> Self
    where
        H: FromHost,
        T: DeserializeOwned + Send + 'static,
        F: Fn(H, T, Outbound) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<Option<Receipt>>> + Send + 'static,
    {
        self.find = Some(erase_delivery(find));
        self
    }

    /// `fn(host, target, outbound, receipt) -> Result<()>`: gives the post that the receipt is of the text of `outbound`.
    /// Done twice it is the same. An error that says no, such as `NotFound`, means that the post cannot be changed any
    /// more: the answer is posted anew.
    pub fn update<H, T, F, Fut>(mut self, update: F) -> Self
    where
        H: FromHost,
        T: DeserializeOwned + Send + 'static,
        F: Fn(H, T, Outbound, Receipt) -> Fut + Send + Sync + Clone + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.update = Some(Arc::new(move |host: Host, call: Call| {
            let update = update.clone();
            Box::pin(async move {
                let receipt = Receipt::deserialize(&call.json["receipt"])?;
                let Delivery { target, outbound } = Delivery::<T>::read(call)?;
                update(H::from_host(&host)?, target, outbound, receipt).await?;
                Ok(Value::Null)
            })
        }));
        self
    }

    /// Longer answers are split, at line ends where there are any.
    pub fn limit(mut self, characters: usize) -> Self {
        self.limit = characters;
        self
    }

    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Answers that could not leave for so long are not sent any more.
    pub fn shelf_life(mut self, time: Duration) -> Self {
        self.shelf_life = Some(time);
        self
    }

    /// The call that `deliver` and `find` take.
    pub fn call(target: &Target, outbound: &Outbound) -> Call {
        Call::from(json!({"target": target.config, "outbound": outbound}))
    }

    /// The call that `update` takes.
    pub fn update_call(target: &Target, outbound: &Outbound, receipt: &Receipt) -> Call {
        Call::from(json!({"target": target.config, "outbound": outbound, "receipt": receipt}))
    }

    /// The call that `start` takes; it answers a `dispatch_config`.
    pub fn start_call(target: &Target) -> Call {
        Call::from(json!({"target": target.config}))
    }

    /// The call that `approval` takes.
    pub fn approval_call(target: &Target, approval: &Approval) -> Call {
        Call::from(json!({"target": target.config, "approval": approval}))
    }
}

#[derive(Deserialize)]
struct Delivery<T> {
    target: T,
    outbound: Outbound,
}

impl<T: DeserializeOwned> Delivery<T> {
    fn read(call: Call) -> Result<Self> {
        serde_json::from_value(call.json)
            .map_err(|e| Error::schema(format!("The dispatch_config does not fit this dispatch type: {e}")))
    }
}

fn erase_delivery<H, T, R, F, Fut>(function: F) -> Handler
where
    H: FromHost,
    T: DeserializeOwned + Send + 'static,
    R: Serialize,
    F: Fn(H, T, Outbound) -> Fut + Send + Sync + Clone + 'static,
    Fut: Future<Output = Result<R>> + Send + 'static,
{
    Arc::new(move |host, call| {
        let function = function.clone();
        Box::pin(async move {
            let Delivery { target, outbound } = Delivery::<T>::read(call)?;
            let answer = function(H::from_host(&host)?, target, outbound).await?;
            Ok(serde_json::to_value(answer)?)
        })
    })
}
