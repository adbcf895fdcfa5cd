use crate::world::{World, board, place, start};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};
use tercel_sdk::{
    Error, Handler, Host, Integration, Kind, Outbound, Receipt, dispatcher,
    hook::{BeforeTranscription, Hook, HookEvent},
};

/// A hook that answers what the handler makes of the recording.
fn hears(name: &str, hear: impl Fn(&[u8]) -> tercel_sdk::Result<Value> + Send + Sync + 'static) -> Integration {
    let hear = Arc::new(hear);
    let handler: Handler = Arc::new(move |_, call| {
        let hear = hear.clone();
        Box::pin(async move { hear(&call.blobs[0]) })
    });
    let mut integration = Integration::new(name);
    integration.hooks.push(Hook { event: BeforeTranscription::NAME, handler });
    integration
}

async fn said(world: &World, message: Value) -> Value {
    world.call("POST", "/chat", message).await
}

#[tokio::test]
async fn the_first_hook_that_understands_a_recording_says_what_is_in_it() {
    let place = place();
    let hooks = vec![
        hears("broken", |_| panic!("the hook fell over")),
        hears("deaf", |_| Err(Error::new(Kind::Error, "no ears"))),
        hears("shy", |_| Ok(Value::Null)),
        hears("useful", |bytes| Ok(format!("{} bytes", bytes.len()).into())),
        hears("zealous", |_| Ok("never asked".into())),
    ];
    let world = start(place.path(), hooks).await;
    let answer = said(&world, json!({"audio_data": BASE64.encode("sound"), "audio_format": "wav"})).await;
    assert_eq!((&answer["transcript"], &answer["response"]), (&json!("5 bytes"), &json!("You said: 5 bytes")));
    world.stop().await;
}

#[tokio::test]
async fn a_mirrored_message_goes_out_under_the_name_of_who_typed_it() {
    let posts: Arc<Mutex<Vec<(Value, String)>>> = Arc::default();
    let kept = posts.clone();
    let deliver = move |_: Host, target: Map<String, Value>, outbound: Outbound| {
        kept.lock().unwrap().push((target.get("user_attribution").cloned().unwrap_or_default(), outbound.text));
        async { Ok(Receipt::default()) }
    };
    let attributed = board().dispatcher(dispatcher(deliver).limit(20)).user_attribution(|user| {
        let icon = user.integration_config["icon"].clone();
        Map::from_iter([("username".to_owned(), json!(user.display_name)), ("icon_url".to_owned(), icon)])
    });
    let place = place();
    let world = start(place.path(), vec![attributed]).await;
    let channel = world.call("POST", "/api/v1/channels", json!({"client_id": "web:team"})).await;
    let path = format!("/api/v1/channels/{}/bindings", channel["id"].as_str().unwrap());
    let binding = json!({"client_id": "board:1", "dispatch_config": {"type": "board", "place": 1}});
    world.call("POST", &path, binding).await;
    let user = json!({"display_name": "Alice", "integration_config": {"board": {"icon": "a.png"}}});
    said(&world, json!({"message": "It is longer than one post may be", "client_id": "web:team", "user": user})).await;
    world.until("all is posted", async || (posts.lock().unwrap().len() >= 4).then_some(())).await;
    let posts = posts.lock().unwrap().clone();
    let alice = json!({"username": "Alice", "icon_url": "a.png"});
    let typed: String = posts.iter().filter(|(by, _)| *by == alice).map(|(_, text)| text.as_str()).collect();
    assert_eq!(typed.replace(' ', ""), "Itislongerthanonepostmaybe", "{posts:?}");
    assert_eq!(posts[0].0, alice, "the message comes before its answer: {posts:?}");
    assert!(posts.iter().any(|(by, text)| by.is_null() && text.starts_with("You said")), "{posts:?}");
    world.stop().await;
}
