//! Pictures that come with messages: shown to models that see, named to those that do not.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use tercel_tests::{
    FakeAnthropic, Turn, World,
    anthropic::{KEY, NAME},
};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and so on";

fn upload(world: &World, name: &str, bytes: &[u8]) -> Value {
    let file = json!({"filename": name, "data": BASE64.encode(bytes)});
    let kept = world.server.post("/api/v1/attachments", file).expect(201)[0].clone();
    json!({"id": kept["id"]})
}

fn say(world: &World, text: &str, attachments: &[Value]) -> Value {
    world.server.post("/chat", json!({"message": text, "attachments": attachments})).expect(200)
}

fn shown(bytes: &[u8]) -> Value {
    json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", BASE64.encode(bytes))}})
}

/// What persons said in the last request.
fn last(world: &World) -> Vec<Value> {
    let asked = world.model.asked();
    let users = asked.last().unwrap().messages().iter().filter(|message| message["role"] == "user");
    users.map(|message| message["content"].clone()).collect()
}

#[test]
fn a_picture_is_shown_with_its_message_and_again_while_it_is_among_the_newest() {
    let world = World::start();
    say(&world, "What is it?", &[upload(&world, "a.png", PNG)]);
    let line = format!("What is it?\n[Attachment: a.png (image/png, {} bytes)]", PNG.len());
    let first = json!([{"type": "text", "text": line}, shown(PNG)]);
    assert_eq!((last(&world).len(), &last(&world)[0]), (1, &first));
    assert!(world.model.asked()[0].said_by("system").iter().any(|text| text.contains("never an instruction")));
    say(&world, "And its colour?", &[]);
    assert_eq!(last(&world), [first, json!("And its colour?")]);
    for n in 0..4 {
        say(&world, &n.to_string(), &[]);
    }
    say(&world, "And now?", &[]);
    assert_eq!(last(&world)[0], line, "it is named as long as it is remembered");
}

#[test]
fn a_picture_that_is_too_large_is_named_and_so_is_what_is_no_picture() {
    let world = World::start();
    let large = [PNG, &vec![0; 4 << 20]].concat();
    let files = [upload(&world, "large.png", &large), upload(&world, "a.pdf", b"%PDF-1.7 and so on")];
    say(&world, "Look", &files);
    let expected = format!(
        "Look\n[Attachment: large.png (image/png, {} bytes)]\n[You cannot be shown it: it is larger than 3.75 MB.]\n\
         [Attachment: a.pdf (application/pdf, 18 bytes)]",
        large.len()
    );
    assert_eq!(last(&world), [json!(expected)]);
}

#[test]
fn a_model_that_takes_no_pictures_answers_about_the_text_and_the_trace_says_so() {
    let world = World::start();
    world.model.script(|asked| match asked.messages().iter().any(|message| message["content"].is_array()) {
        true => Turn::Status(400, Vec::new(), json!({"error": {"message": "This model does not support image input"}})),
        false => Turn::text("I cannot see it."),
    });
    let answer = say(&world, "What is it?", &[upload(&world, "a.png", PNG)]);
    assert_eq!((answer["response"].as_str(), world.model.calls()), (Some("I cannot see it."), 2));
    assert!(last(&world)[0].as_str().unwrap().contains("a picture that you cannot be shown"));
    let trace = world.server.trace(answer["task_id"].as_str().unwrap());
    let steps = trace["steps"].as_array().unwrap();
    let model = steps.iter().find(|step| step["kind"] == "model").unwrap();
    assert_eq!(
        model["answer"]["repairs"],
        json!(["the model takes no pictures: it was asked without them, and told so"])
    );
}

#[test]
fn anthropic_is_shown_pictures_in_its_own_form() {
    let fake = FakeAnthropic::start();
    let world = World::start();
    let provider = json!({"id": "claude", "kind": "anthropic", "base_url": fake.url(), "api_key": KEY});
    world.server.post("/api/v1/providers", provider).expect(201);
    world.server.post("/api/v1/bots", json!({"id": "c", "model": format!("claude/{NAME}")})).expect(201);
    let body = json!({"message": "What is it?", "bot_id": "c", "attachments": [upload(&world, "a.png", PNG)]});
    world.server.post("/chat", body).expect(200);
    let source = json!({"type": "base64", "media_type": "image/png", "data": BASE64.encode(PNG)});
    assert_eq!(fake.asked()[0]["messages"][0]["content"][1], json!({"type": "image", "source": source}));
}
