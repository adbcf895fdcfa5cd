//! What an answer has to be like, in the words of each provider.

use crate::service::{KEY, Service, message, openai, plain, request};
use futures::executor::block_on;
use serde_json::{Value, json};
use std::sync::Arc;
use tercel_models::{Anthropic, Model, NoSink, Options, Rehearsal, SecretString};
use tercel_sdk::{
    Error, Kind, Result,
    chat::{Choice, Format, Request, Shape},
    http::Client,
};

fn anthropic() -> Anthropic {
    Anthropic::new("https://models.test", Some(SecretString::from(KEY)), Options::default())
}

fn ask(model: &dyn Model, service: &Arc<Service>, shape: Shape) -> Result<()> {
    let request = Request { shape, ..request() };
    block_on(model.answer(&Client::new(service.clone()), &request, &NoSink)).map(drop)
}

/// What of a request speaks of its shape.
fn told(model: &dyn Model, shape: Shape) -> Value {
    let content = json!([{"type": "text", "text": "ok"}]);
    let reply = match model.id() {
        "openai" => message(json!({"content": "ok"})),
        _ => plain(200, json!({"type": "message", "model": "c", "content": content, "stop_reason": "end_turn"})),
    };
    let service = Service::new([Ok(reply)]);
    ask(model, &service, shape).unwrap();
    let mut body = service.bodies().remove(0);
    let about = ["stop", "stop_sequences", "response_format", "output_config", "tool_choice"];
    body.as_object_mut().unwrap().retain(|key, _| about.contains(&key.as_str()));
    body
}

fn schema() -> Value {
    json!({"name": "town", "strict": true, "schema": {"type": "object", "properties": {"town": {"type": "string"}}}})
}

#[test]
fn openai_gets_what_it_has_words_for() {
    let model = openai("https://models.test/v1");
    assert_eq!(told(&model, Shape::default()), json!({}));
    let shape = Shape { stop: vec!["END".into()], format: Format::Json, choice: Choice::Required };
    let expected = json!({"tool_choice": "required", "stop": ["END"], "response_format": {"type": "json_object"}});
    assert_eq!(told(&model, shape), expected);
    let shape = Shape { format: Format::Schema(schema()), choice: Choice::Tool("wait".into()), ..Shape::default() };
    let expected = json!({
        "tool_choice": {"type": "function", "function": {"name": "wait"}},
        "response_format": {"type": "json_schema", "json_schema": schema()},
    });
    assert_eq!(told(&model, shape), expected);
}

#[test]
fn anthropic_gets_the_same_in_its_words() {
    let shape = Shape { stop: vec!["END".into()], format: Format::Schema(schema()), choice: Choice::Required };
    let expected = json!({
        "tool_choice": {"type": "any"}, "stop_sequences": ["END"],
        "output_config": {"format": {"type": "json_schema", "schema": schema()["schema"]}},
    });
    assert_eq!(told(&anthropic(), shape), expected);
    let shape = Shape { choice: Choice::Tool("wait".into()), ..Shape::default() };
    assert_eq!(told(&anthropic(), shape), json!({"tool_choice": {"type": "tool", "name": "wait"}}));
}

#[test]
fn what_a_provider_has_no_words_for_is_refused_before_it_is_asked() {
    let service = Service::new([]);
    let refused = |model: &dyn Model, shape: Shape| -> Error { ask(model, &service, shape).unwrap_err() };
    let failure = refused(&anthropic(), Shape { format: Format::Json, ..Shape::default() });
    let said = "response_format: models of Anthropic have no `json_object`";
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Unsupported, said));
    let failure = refused(&Rehearsal::new(), Shape { stop: vec!["END".into()], ..Shape::default() });
    assert_eq!(failure.kind, Kind::Unsupported);
}
