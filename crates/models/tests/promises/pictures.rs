//! Pictures that are shown to models, and models that take none.

use crate::service::{KEY, Reply, Service, message, openai, picture, plain, request};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::sync::Arc;
use tercel_models::{Anthropic, Model, NoSink, Options, SecretString};
use tercel_sdk::{
    Kind, Result,
    chat::{Answer, Message, Request},
    http::Client,
};

const UNSEEN: &str =
    "\n[What was attached here is a picture that you cannot be shown. Say so if the answer depends on it.]";

fn with_picture(text: &str) -> Request {
    Request {
        messages: vec![Message { images: vec![picture()], ..Message::user(text) }],
        tools: Vec::new(),
        ..request()
    }
}

fn ask(model: &dyn Model, service: &Arc<Service>, request: &Request) -> Result<Answer> {
    block_on(model.answer(&Client::new(service.clone()), request, &NoSink))
}

fn hello() -> Result<Reply> {
    Ok(message(json!({ "content": "Hello" })))
}

fn refused(status: u16, message: &str) -> Result<Reply> {
    Ok(plain(status, json!({ "error": { "message": message } })))
}

fn contents(service: &Service) -> Vec<Value> {
    service.bodies().iter().map(|body| body["messages"][0]["content"].clone()).collect()
}

fn shown() -> Value {
    json!([
        { "type": "text", "text": "What is it?" },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,iVBORw0KGgo=" } },
    ])
}

#[test]
fn openai_is_shown_a_picture_as_an_address_that_has_its_bytes() {
    let service = Service::new([hello(), hello()]);
    let model = openai("https://models.test/v1");
    ask(&model, &service, &with_picture("What is it?")).unwrap();
    ask(&model, &service, &with_picture("")).unwrap();
    assert_eq!(contents(&service), [shown(), json!([shown()[1]])]);
}

#[test]
fn anthropic_is_shown_a_picture_as_a_block_of_its_own() {
    let answer = json!({ "type": "message", "model": "c", "content": [{ "type": "text", "text": "ok" }], "stop_reason": "end_turn" });
    let service = Service::new([Ok(plain(200, answer))]);
    let model = Anthropic::new("https://models.test", Some(SecretString::from(KEY)), Options::default());
    ask(&model, &service, &with_picture("What is it?")).unwrap();
    let image =
        json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" } });
    assert_eq!(contents(&service), [json!([{ "type": "text", "text": "What is it?" }, image])]);
}

#[test]
fn a_model_that_takes_no_pictures_is_asked_without_them_from_then_on_and_both_sides_are_told() {
    let cases = [
        (400, "Invalid content type. image_url is only supported by certain models."),
        (400, "llama3 is not a multimodal model"),
        (404, "No endpoints found that support image input"),
        (422, "messages[0].content must be a string"),
    ];
    for (status, said) in cases {
        let service = Service::new([refused(status, said), hello(), hello()]);
        let model = openai("https://models.test/v1");
        for _ in 0..2 {
            let answer = ask(&model, &service, &with_picture("What is it?")).unwrap();
            assert_eq!(
                answer.repairs,
                ["the model takes no pictures: it was asked without them, and told so"],
                "{said}"
            );
        }
        let alone = json!(format!("What is it?{UNSEEN}"));
        assert_eq!(contents(&service), [shown(), alone.clone(), alone], "{said}");
    }
}

#[test]
fn a_picture_that_cannot_be_read_does_not_keep_the_next_one_from_being_shown() {
    let service = Service::new([refused(400, "Could not process image"), hello(), hello()]);
    let model = openai("https://models.test/v1");
    let answer = ask(&model, &service, &with_picture("What is it?")).unwrap();
    assert_eq!(answer.repairs, ["the provider refused the pictures: the model was asked without them, and told so"]);
    assert_eq!(ask(&model, &service, &with_picture("What is it?")).unwrap().repairs, [] as [&str; 0]);
    assert_eq!(contents(&service)[2], shown());
}

#[test]
fn what_is_refused_for_another_reason_is_no_matter_of_pictures() {
    let service = Service::new([hello(), refused(400, "Too long")]);
    let model = openai("https://models.test/v1");
    ask(&model, &service, &with_picture("What is it?")).unwrap();
    let failure = ask(&model, &service, &with_picture("What is it?")).unwrap_err();
    assert_eq!((failure.kind, service.sent().len()), (Kind::Schema, 2));
}
