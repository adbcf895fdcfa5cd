//! Myservice: reads rooms, and posts answers there.

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tercel_sdk::{
    Checked, Depth, Field, FromHost, Host, Integration, Outbound, Receipt, Result, dispatcher, http::Builder, reads,
};

pub fn integration() -> Integration {
    Integration::new("myservice")
        .version("0.1.0")
        .label("Myservice")
        .description("Reads rooms of Myservice and posts answers there")
        .icon("MessageSquare")
        .field(Field::password("token", "Token").required().help("From Myservice's account page"))
        .field(Field::url("url", "API address").default("https://api.myservice.example"))
        .connector(check)
        .dispatcher(dispatcher(post).limit(4_000))
        .tool("myservice_get_room", reads(get_room))
        .skill("myservice", include_str!("skills/myservice.md"))
        .readme(include_str!("README.md"))
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
    Ok(Checked { depth: Depth::Auth, message: format!("The token belongs to `{}`", me.name), account: Some(me.name) })
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
