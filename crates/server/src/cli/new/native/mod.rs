//! Myservice: answers messages in the room where they were written.

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tercel_sdk::{
    Brief, Checked, Dedupe, Depth, Event, Field, FromHost, Host, Inbound, Integration, Outbound, Outcome, Receipt,
    Received, Refusal, Result, Scheme, Target, dispatcher, http::Builder, reads,
};

pub fn integration() -> Integration {
    Integration::new("myservice")
        .version("0.1.0")
        .label("Myservice")
        .description("Answers messages of Myservice")
        .icon("MessageSquare")
        .field(Field::password("token", "Token").required().help("From Myservice's account page"))
        .field(Field::password("webhook_secret", "Webhook secret").required().help("Signs what comes in"))
        .field(Field::url("url", "API address").default("https://api.myservice.example"))
        .webhook(receive)
        .connector(check)
        .dispatcher(dispatcher(post).limit(4_000))
        .tool("myservice_get_room", reads(get_room))
        .skill("myservice", include_str!("skills/myservice.md"))
        .readme(include_str!("README.md"))
        .sample("message.created", include_str!("fixtures/message.created.json"))
        .exchanges(include_str!("fixtures/api.json"))
}

#[derive(Deserialize)]
struct Payload {
    event: String,
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    room: String,
    author: String,
    text: String,
}

/// What came in means; nothing is asked for here, so that it can be looked at again.
fn receive(host: Host, request: Inbound) -> Result<Received, Refusal> {
    let payload: Payload = request.signed(&Scheme::standard(host.field("webhook_secret")?))?.json()?;
    let outcome = match payload.message {
        Some(message) if payload.event == "message.created" => answered(message),
        _ => Outcome::Ignored("only new messages are answered".into()),
    };
    Ok(Received { dedupe: Dedupe::Body, name: payload.event, outcome })
}

fn answered(Message { room, author, text }: Message) -> Outcome {
    let brief = Brief {
        preamble: Some(format!("This was written in room `{room}`. Answer it in one paragraph.")),
        skills: vec!["integrations/myservice/myservice".into()],
        tools: vec!["myservice_get_room".into()],
        ..Brief::default()
    };
    let event = Event::stored(format!("myservice:{room}"), format!("{author} wrote: {text}"))
        .reply_to(Target::new("myservice", json!({"room": room})))
        .run(brief);
    Outcome::Events(vec![event])
}

/// A connection to Myservice: what all parts begin with.
struct Myservice(Host);

impl FromHost for Myservice {
    fn from_host(host: &Host) -> Result<Self> {
        host.field("token")?;
        Ok(Self(host.clone()))
    }
}

impl Myservice {
    fn address(&self, path: &str) -> Result<String> {
        Ok(format!("{}{path}", self.0.field("url")?.trim_end_matches('/')))
    }

    fn get(&self, path: &str) -> Result<Builder> {
        Ok(self.0.http().get(self.address(path)?).bearer(self.0.field("token")?))
    }

    fn post(&self, path: &str) -> Result<Builder> {
        Ok(self.0.http().post(self.address(path)?).bearer(self.0.field("token")?))
    }
}

async fn check(myservice: Myservice) -> Result<Checked> {
    #[derive(Deserialize)]
    struct Me {
        name: String,
    }
    let me: Me = myservice.get("/me")?.send().await?.ok()?.json()?;
    let message = format!("The token belongs to `{}`", me.name);
    Ok(Checked { depth: Depth::Auth, account: Some(me.name), account_id: None, message })
}

/// Read the name and the topic of a room.
#[derive(Deserialize, JsonSchema)]
struct GetRoom {
    /// Id of the room.
    room: String,
}

#[derive(Serialize, Deserialize)]
struct Room {
    name: String,
    topic: String,
}

async fn get_room(myservice: Myservice, arguments: GetRoom) -> Result<Room> {
    myservice.get(&format!("/rooms/{}", arguments.room))?.send().await?.ok()?.json()
}

/// The `dispatch_config` of the type `myservice`.
#[derive(Deserialize)]
struct Place {
    room: String,
}

async fn post(myservice: Myservice, place: Place, outbound: Outbound) -> Result<Receipt> {
    #[derive(Deserialize)]
    struct Posted {
        id: u64,
    }
    let path = format!("/rooms/{}/messages", place.room);
    let answer = myservice.post(&path)?.json(&json!({"text": outbound.text})).send().await?.ok()?;
    // The message is there, whatever the answer looks like.
    let id = answer.json::<Posted>().ok().map(|posted| posted.id.to_string());
    Ok(Receipt { id, url: None })
}
