//! Board: answers what people post on a notice board.

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tercel_sdk::{
    Brief, Checked, Dedupe, Depth, Event, Field, FromHost, Host, Inbound, Integration, Outbound, Outcome, Receipt,
    Received, Refusal, Result, Scheme, Target, dispatcher, hook, http::Builder, reads,
};

pub fn integration() -> Integration {
    Integration::new("board")
        .version("0.1.0")
        .label("Board")
        .description("Answers posts on a notice board")
        .icon("StickyNote")
        .field(Field::password("token", "Token").required().help("From board.example/settings"))
        .field(Field::password("webhook_secret", "Webhook secret").help("The one from the webhook's settings"))
        .field(Field::url("api_url", "API address").default("https://api.board.example"))
        .webhook(receive)
        .connector(check)
        .dispatcher(dispatcher(reply).find(find).limit(2_000))
        .tool("board_get_post", reads(get_post))
        .on(mark_seen)
        .sample("post.created", include_str!("fixtures/post.created.json"))
}

#[derive(Deserialize)]
struct Payload {
    post: Post,
}

#[derive(Serialize, Deserialize)]
struct Post {
    id: u64,
    author: String,
    text: String,
}

fn receive(host: Host, request: Inbound) -> Result<Received, Refusal> {
    let request = request.signed(&Scheme::standard(host.field("webhook_secret")?))?;
    let name = request.header("x-board-event").unwrap_or_default().to_owned();
    // The signature covers the id, so the same id is the same delivery.
    let dedupe = request.header("webhook-id").map_or(Dedupe::Body, |id| Dedupe::SignedId(id.into()));
    let outcome = match name.as_str() {
        "post.created" => created(&host, request.json::<Payload>()?.post),
        _ => Outcome::Ignored("only new posts are answered".into()),
    };
    Ok(Received { dedupe, name, outcome })
}

fn created(host: &Host, post: Post) -> Outcome {
    // Whoever answers itself does not stop.
    if host.account() == Some(&post.author) {
        return Outcome::Ignored("own post".into());
    }
    let brief = Brief {
        preamble: Some(format!("Somebody posted on the board. Read post {} and answer it in one paragraph.", post.id)),
        tools: vec!["board_get_post".into()],
        ..Brief::default()
    };
    let event = Event::stored("board:main", format!("{} wrote: {}", post.author, post.text))
        .thread(format!("post/{}", post.id))
        .reply_to(Target::new("board", json!({"post": post.id})))
        .run(brief);
    Outcome::Events(vec![event])
}

/// A connection to the board: what all parts but the webhook begin with.
struct Board(Host);

impl FromHost for Board {
    fn from_host(host: &Host) -> Result<Self> {
        host.field("token")?;
        Ok(Self(host.clone()))
    }
}

impl Board {
    fn get(&self, path: &str) -> Result<Builder> {
        Ok(self.0.http().get(self.address(path)?).bearer(self.0.field("token")?))
    }

    fn post(&self, path: &str) -> Result<Builder> {
        Ok(self.0.http().post(self.address(path)?).bearer(self.0.field("token")?))
    }

    fn address(&self, path: &str) -> Result<String> {
        Ok(format!("{}{path}", self.0.field("api_url")?.trim_end_matches('/')))
    }
}

async fn check(board: Board) -> Result<Checked> {
    #[derive(Deserialize)]
    struct Me {
        name: String,
    }
    let me: Me = board.get("/me")?.send().await?.ok()?.json()?;
    let message = format!("The token belongs to `{}`", me.name);
    Ok(Checked { depth: Depth::Auth, account: Some(me.name), account_id: None, message })
}

/// Read one post of the board.
#[derive(Deserialize, JsonSchema)]
struct GetPost {
    /// Number of the post.
    id: u64,
}

async fn get_post(board: Board, arguments: GetPost) -> Result<Post> {
    board.get(&format!("/posts/{}", arguments.id))?.send().await?.ok()?.json()
}

/// The `dispatch_config` of the type `board`.
#[derive(Deserialize)]
struct Thread {
    post: u64,
}

#[derive(Deserialize)]
struct Reply {
    id: u64,
    text: String,
}

async fn reply(board: Board, thread: Thread, outbound: Outbound) -> Result<Receipt> {
    let text = format!("{}\n\n<!-- {} -->", outbound.text, outbound.marker);
    let path = format!("/posts/{}/replies", thread.post);
    let answer = board.post(&path)?.json(&json!({"text": text})).send().await?.ok()?;
    // The reply is there, whatever the answer looks like: one that cannot be read is no failure.
    Ok(answer.json::<Reply>().map(receipt).unwrap_or_default())
}

async fn find(board: Board, thread: Thread, outbound: Outbound) -> Result<Option<Receipt>> {
    let path = format!("/posts/{}/replies", thread.post);
    let replies: Vec<Reply> = board.get(&path)?.send().await?.ok()?.json()?;
    Ok(replies.into_iter().find(|reply| reply.text.contains(&outbound.marker)).map(receipt))
}

fn receipt(reply: Reply) -> Receipt {
    Receipt { id: Some(reply.id.to_string()), url: None }
}

/// A post that was looked at is marked on the board.
async fn mark_seen(board: Board, _: hook::AfterTaskComplete) -> Result<()> {
    // Only runs whose answers go to this board have such a target.
    let Some(target) = &board.0.ids().target else { return Ok(()) };
    let path = format!("/posts/{}/seen", target.config["post"]);
    board.post(&path)?.json(&json!({})).send().await?.ok().map(drop)
}
