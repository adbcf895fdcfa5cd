//! Speech becomes text before anything else sees it.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tercel_tests::{
    Turn, World,
    loopback::{Loopback, Reply, Request},
};

type Asked = Arc<Mutex<Vec<Request>>>;

/// A service that hears what it is told to.
fn service(status: u16, text: &'static str) -> (Loopback, Asked) {
    let asked = Asked::default();
    let shared = asked.clone();
    let loopback = Loopback::start(move |request| {
        shared.lock().unwrap().push(request);
        std::future::ready(Reply::json(status, &json!({"text": text, "error": {"message": "no: stt-key-0123456789"}})))
    });
    (loopback, asked)
}

fn world(service: &Loopback) -> World {
    let url = format!("{}/v1", service.url());
    World::start_with(|options| {
        options.env("STT_BASE_URL", &url).env("STT_MODEL", "ears-1").env("STT_API_KEY", "stt-key-0123456789")
    })
}

#[test]
fn without_a_service_speech_is_a_501_that_says_what_to_set() {
    let world = World::start();
    let audio = BASE64.encode("OggS sound");
    let detail = world.server.post("/transcribe", json!({"audio_data": audio})).refused(501, "not_configured");
    assert!(detail.contains("STT_BASE_URL"), "{detail}");
    world.server.post("/chat", json!({"audio_data": audio, "audio_format": "ogg"})).refused(501, "not_configured");
    assert_eq!(world.server.list("/api/v1/tasks").len(), 0);
    world.server.post("/transcribe", json!({"audio_data": ""})).refused(400, "bad_request");
    world.server.post("/transcribe", json!({"audio_data": "%"})).refused(422, "invalid");
    world.server.post("/transcribe", json!({"audio_data": audio, "audio_format": "../x"})).refused(422, "invalid");
}

#[test]
fn what_is_said_in_a_recording_is_the_message() {
    let (service, asked) = service(200, " Is it raining? ");
    let world = world(&service);
    world.model.script(|asked| Turn::Text(format!("You asked: {}", asked.question())));
    let body = json!({"audio_data": BASE64.encode("OggS sound"), "audio_format": "audio/ogg; codecs=opus"});
    let answer = world.server.post("/chat", body).expect(200);
    assert_eq!(
        (&answer["transcript"], &answer["response"]),
        (&json!("Is it raining?"), &json!("You asked: Is it raining?"))
    );
    let request = asked.lock().unwrap()[0].clone();
    assert_eq!(
        (request.path.as_str(), request.header("authorization")),
        ("/v1/audio/transcriptions", "Bearer stt-key-0123456789")
    );
    let sent = String::from_utf8_lossy(&request.body).into_owned();
    assert!(sent.contains("ears-1") && sent.contains("OggS sound") && sent.contains("speech.ogg"), "{sent}");
    let form = b"--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--X--";
    let heard =
        world.server.call("POST", "/transcribe", &[("content-type", "multipart/form-data; boundary=X")], &form[..]);
    assert_eq!(heard.expect(200), json!({"transcript": "Is it raining?"}));
    assert!(String::from_utf8_lossy(&asked.lock().unwrap()[1].body).contains("speech.wav"));
}

#[test]
fn a_service_that_fails_is_a_502_without_its_key() {
    let (service, _asked) = service(400, "");
    let world = world(&service);
    let audio = BASE64.encode("OggS sound");
    let detail = world.server.post("/transcribe", json!({"audio_data": audio})).refused(502, "model");
    assert!(!detail.contains("stt-key"), "{detail}");
    let (silent, _asked) = self::service(200, "");
    let world = self::world(&silent);
    world.server.post("/chat", json!({"audio_data": audio})).refused(400, "bad_request");
}

#[test]
fn a_recording_under_a_key_is_heard_once_and_another_one_is_told_apart() {
    let (service, asked) = service(200, "Is it raining?");
    let world = world(&service);
    let headers = [("idempotency-key", "once"), ("content-type", "application/json")];
    let file = |text: &str| json!([{"filename": "a.txt", "data": BASE64.encode(text)}]);
    let say = |sound: &str, files: Value| {
        let body = json!({"audio_data": BASE64.encode(sound), "audio_format": "ogg", "attachments": files});
        world.server.call("POST", "/chat", &headers, body.to_string())
    };
    let first = say("OggS sound", file("one")).expect(200);
    assert_eq!(first["transcript"], "Is it raining?");
    assert_eq!(say("OggS sound", file("one")).expect(200), first);
    assert_eq!(asked.lock().unwrap().len(), 1, "it was not heard again");
    say("OggS another", file("one")).refused(409, "conflict");
    say("OggS sound", file("two")).refused(409, "conflict");
    let session = first["session_id"].as_str().unwrap();
    assert_eq!(world.server.messages(session).len(), 2);
    assert_eq!((asked.lock().unwrap().len(), world.model.calls()), (1, 1));
    let path = format!("/chat/stream?task_id={}", first["task_id"].as_str().unwrap());
    let end = world.server.open("GET", &path, &[], Value::Null).until("response").data;
    assert_eq!(end["transcript"], "Is it raining?", "it is there for who comes back, too");
}
