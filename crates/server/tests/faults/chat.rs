use crate::{
    tools::Arguments,
    world::{World, board, place, start},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value, json};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tercel_sdk::{
    Error, Handler, Host, Integration, Kind, Outbound, Receipt, dispatcher,
    hook::{BeforeTranscription, Hook, HookEvent, Watches},
    reads,
};

/// A hook that answers what the handler makes of the recording.
fn hears(name: &str, hear: impl Fn(&[u8]) -> tercel_sdk::Result<Value> + Send + Sync + 'static) -> Integration {
    let hear = Arc::new(hear);
    let handler: Handler = Arc::new(move |_, call| {
        let hear = hear.clone();
        Box::pin(async move { hear(&call.blobs[0]) })
    });
    let mut integration = Integration::new(name);
    integration.hooks.push(Hook { event: BeforeTranscription::NAME, handler, watches: Watches::All });
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
async fn a_hook_that_fails_again_and_again_is_not_asked_for_speech_until_it_has_rested() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let broken = hears("broken", move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        Err(Error::new(Kind::Error, "no ears"))
    });
    let place = place();
    let world = start(place.path(), vec![broken, hears("useful", |_| Ok("heard".into()))]).await;
    for _ in 0..8 {
        let answer = world.call("POST", "/transcribe", json!({"audio_data": BASE64.encode("sound")})).await;
        assert_eq!(answer["transcript"], "heard");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 5);
    world.stop().await;
}

#[tokio::test]
async fn a_hook_is_told_what_the_recording_is_and_whose() {
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = told.clone();
    let hear = move |_: Host, event: BeforeTranscription| {
        kept.lock().unwrap().push(serde_json::to_value(event).unwrap());
        async { Ok(Some("heard".to_owned())) }
    };
    let place = place();
    let world = start(place.path(), vec![board().on(hear)]).await;
    let sound = BASE64.encode("sound");
    let answer =
        said(&world, json!({"audio_data": sound, "audio_format": "audio/wav", "client_id": "web:alice"})).await;
    world.call("POST", "/transcribe", json!({"audio_data": sound})).await;
    let told = told.lock().unwrap().clone();
    let context = json!({
        "bot_id": "default", "session_id": answer["session_id"], "channel_id": null, "client_id": "web:alice",
        "correlation_id": null,
    });
    let heard = json!({"context": context, "audio_format": "wav", "audio_size_bytes": 5, "source": "chat"});
    assert_eq!(told[0], heard);
    assert_eq!((&told[1]["source"], &told[1]["audio_format"]), (&json!("api"), &json!("webm")));
    world.stop().await;
}

#[tokio::test]
async fn what_a_tool_asks_the_client_to_do_is_in_the_answer() {
    let act = |_: Host, _: Arguments| async {
        Ok(json!({"client_action": {"type": "open", "page": "map"}, "text": "Opened"}))
    };
    let place = place();
    let world = start(place.path(), vec![board().tool("board_open", reads(act))]).await;
    world.session(json!({"type": "none"})).await;
    let answer = said(&world, json!({"message": "call board_open"})).await;
    assert_eq!(answer["client_actions"], json!([{"type": "open", "page": "map"}]), "{answer:#}");
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

#[tokio::test]
async fn a_tool_whose_arguments_cannot_be_checked_is_refused_with_the_reason() {
    let place = place();
    let world = start(place.path(), vec![board()]).await;
    for (parameters, why) in [
        (json!({"type": "object", "allOf": [{"$ref": "#"}, {"$ref": "#"}]}), "it leads back to itself"),
        (json!({"type": "objekt"}), "`/type`"),
    ] {
        let tool = json!({"name": "get_x", "parameters": parameters});
        let offer = json!({"message": "hello", "client_tools": [tool]});
        let (status, said) = world.try_call("POST", "/chat/stream", offer).await;
        let detail = said["detail"].as_str().unwrap_or_default();
        assert_eq!((status, &said["code"]), (422, &json!("invalid")), "{said}");
        assert!(detail.contains("the schema of `get_x` cannot be used") && detail.contains(why), "{said}");

        let tools = json!([{"type": "function", "function": tool}]);
        let ask = json!({"model": "default", "messages": [{"role": "user", "content": "hello"}], "tools": tools});
        let (status, said) = world.try_call("POST", "/v1/chat/completions", ask).await;
        assert_eq!((status, &said["error"]["param"]), (400, &json!("tools")), "{said}");
        assert!(said["detail"].as_str().unwrap().contains(why), "{said}");
    }
    assert_eq!(world.model_calls(), 0);
    world.stop().await;
}
