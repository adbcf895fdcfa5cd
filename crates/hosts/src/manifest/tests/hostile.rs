//! What strangers write is data: it is never compiled, and never means more than text where it is put.

use super::bench;
use serde_json::{Value, json};
use tercel_sdk::{Kind, Outcome, Refusal, Target, integration::Sample};

/// Texts that would do harm if they were anything but text.
pub const TEXTS: [&str; 24] = [
    "{{ secrets.token }}",
    "{{ fields }}{% for x in range(1000000) %}x{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{# comment #}{{",
    "}}{{ 7*7 }}",
    "a\r\nX-Injected: yes",
    "a\nb",
    "../../etc/passwd",
    "..",
    ".",
    "%2e%2e",
    "%2e%2e%2fadmin",
    "a/b?c=d#e",
    "a&b=c",
    "//evil.example/",
    "\\\\evil.example",
    "https://evil.example/",
    "@evil.example",
    "\"quotes\" 'and' `ticks`",
    "\"}, \"admin\": true, {\"a\": \"",
    "\u{0}\u{1}\u{7f}",
    "\u{202e}\u{feff}\u{2028}",
    "\u{27e6}0:0\u{27e7}",
    "<script>alert(1)</script>",
];

pub const FORGE: &str = r#"
fields: [{key: token, type: password, required: true}]
http: {base: "https://api.forge.example/v1", auth: {bearer: token}}
tools:
  - {name: forge_path, description: A., args: {x: {}}, get: "/a/{{ args.x }}/b"}
  - {name: forge_slashes, description: B., args: {x: {}}, get: "/a/{{ args.x | path }}/b"}
  - {name: forge_query, description: C., args: {x: {}}, get: /q, query: {x: "{{ args.x }}", y: "[{{ args.x }}]"}}
  - {name: forge_header, description: D., args: {x: {}}, get: /h, headers: {X-Said: "{{ args.x }}"}}
  - {name: forge_json, description: E., args: {x: {}}, post: /j, json: {x: "{{ args.x }}", y: "[{{ args.x }}]"}}
  - {name: forge_form, description: F., args: {x: {}}, post: /f, form: {x: "{{ args.x }}"}}
  - {name: forge_text, description: G., args: {x: {}}, post: /t, text: "{{ args.x }}"}
webhook: {verify: {bearer: token}, dedupe: {id: body.x}}
events: [{name: said, when: body.x, session: "{{ body.x }}", thread: "{{ body.x }}", prompt: "{{ body.x }}", target: {room: "{{ body.x }}"}, run: {preamble: "{{ body.x }}"}}]
dispatch: {target: {room: {type: string}}, deliver: {post: "/rooms/{{ target.room }}", json: {text: "{{ text }}"}}}
"#;

/// Calls a tool with a text and answers the request, if one was made.
async fn request(tool: &str, x: &Value) -> Result<tercel_sdk::http::Request, tercel_sdk::Error> {
    let (bench, fake) = bench(FORGE);
    let bench = bench.with("token", "t0p-s3cret");
    let outcome = bench.call(tool, json!({"x": x})).await;
    match fake.requests().pop() {
        Some(request) => Ok(request),
        None => Err(outcome.unwrap_err()),
    }
}

#[tokio::test]
async fn in_a_path_a_value_is_one_segment_or_an_error() {
    for text in TEXTS {
        match request("forge_path", &json!(text)).await {
            Ok(request) => {
                assert_eq!(request.url.host_str(), Some("api.forge.example"), "{text}");
                let segments: Vec<&str> = request.url.path_segments().unwrap().collect();
                assert_eq!((segments.len(), segments[1], segments[3]), (4, "a", "b"), "{text}: {}", request.url);
                let said = url::form_urlencoded::parse(segments[2].replace('+', "%2B").as_bytes())
                    .next()
                    .unwrap()
                    .0
                    .into_owned();
                assert_eq!(said, text);
                assert_eq!((request.url.query(), request.url.fragment()), (None, None));
            }
            Err(error) => {
                assert_eq!(error.kind, Kind::Schema);
                assert!([".", ".."].contains(&text), "{text}: {error}");
            }
        }
    }
    for empty in [json!(""), Value::Null, json!([1]), json!({"a": 1})] {
        request("forge_path", &empty).await.unwrap_err();
    }
}

#[tokio::test]
async fn slashes_that_are_kept_lead_nowhere_else() {
    for text in TEXTS {
        match request("forge_slashes", &json!(text)).await {
            Ok(request) => {
                assert_eq!(request.url.host_str(), Some("api.forge.example"), "{text}");
                let path = request.url.path();
                assert!(path.starts_with("/v1/a/") && path.ends_with("/b"), "{text}: {path}");
            }
            Err(error) => assert!(text.split('/').any(|part| part == ".." || part == "."), "{text}: {error}"),
        }
    }
}

#[tokio::test]
async fn in_a_query_a_form_and_json_a_value_is_one_value() {
    for text in TEXTS {
        let asked = request("forge_query", &json!(text)).await.unwrap().url;
        let pairs: Vec<(String, String)> = asked.query_pairs().into_owned().collect();
        assert_eq!(pairs, [("x".into(), text.into()), ("y".into(), format!("[{text}]"))]);
        let sent = request("forge_json", &json!(text)).await.unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&sent.body).unwrap(), json!({"x": text, "y": format!("[{text}]")}));
        let sent = request("forge_form", &json!(text)).await.unwrap();
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&sent.body).into_owned().collect();
        assert_eq!(pairs, [("x".into(), text.to_owned())]);
        assert_eq!(request("forge_text", &json!(text)).await.unwrap().body, text);
    }
}

#[tokio::test]
async fn in_a_header_a_value_is_one_line_or_an_error() {
    for text in TEXTS {
        match request("forge_header", &json!(text)).await {
            Ok(request) => {
                assert_eq!(request.headers["x-said"].as_bytes(), text.as_bytes());
                assert_eq!(request.headers.len(), 2, "{text}");
            }
            Err(error) => assert!(text.contains(|c: char| c.is_ascii_control()), "{text}: {error}"),
        }
    }
}

#[tokio::test]
async fn no_text_reads_a_secret() {
    for text in TEXTS {
        for tool in ["forge_path", "forge_query", "forge_header", "forge_json", "forge_form", "forge_text"] {
            let Ok(request) = request(tool, &json!(text)).await else { continue };
            let mut headers = request.headers.clone();
            headers.remove("authorization");
            let all = format!("{} {headers:?} {:?}", request.url, request.body);
            assert!(!all.contains("t0p-s3cret"), "{text}: {all}");
        }
    }
}

#[test]
fn an_event_is_text_whatever_it_says() {
    let bench = bench(FORGE).0.with("token", "t0p-s3cret");
    for text in TEXTS {
        let sample = Sample { name: String::new(), headers: Default::default(), body: json!({"x": text}), sign: None };
        let received = bench.receive(&sample).unwrap();
        let Outcome::Events(events) = received.outcome else { panic!("{text}") };
        let event = &events[0];
        assert_eq!((event.text.as_str(), event.brief.as_ref().unwrap().preamble.as_deref()), (text, Some(text)));
        assert!(event.from.starts_with("forge:") && !event.from.contains(['\r', '\n', '\0']), "{:?}", event.from);
        assert_eq!(event.reply_to, Some(Target::new("forge", json!({"room": text}))));
    }
}

#[test]
fn numbers_and_depths_that_nobody_needs_end_nothing() {
    let bench = bench(FORGE).0.with("token", "t");
    let receive = |body: &str| {
        let headers = [("authorization".parse().unwrap(), "Bearer t".parse().unwrap())].into_iter().collect();
        bench.receive_raw(headers, body.to_owned().into(), std::time::UNIX_EPOCH)
    };
    for number in
        ["123456789012345678901234567890", "-0", "1e308", "18446744073709551615", "-9223372036854775808", "0.1e-300"]
    {
        // The longest of them, written out, is too long for the name of a place.
        match receive(&format!("{{\"x\": {number}}}")) {
            Ok(received) => assert!(matches!(received.outcome, Outcome::Events(_) | Outcome::Ignored(_)), "{number}"),
            Err(refusal) => assert!(matches!(refusal, Refusal::Malformed(_)), "{number}: {refusal}"),
        }
    }
    let exact = receive(r#"{"x": 9007199254740993}"#).unwrap();
    let Outcome::Events(events) = exact.outcome else { panic!() };
    assert_eq!(events[0].text, "9007199254740993", "whole numbers are whole");
    assert!(receive("{\"x\": 1e999}").is_err());
    let deep = |levels: usize| format!("{{\"x\": {}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(receive(&deep(100_000)).is_err(), "refused, and the stack is whole");
    assert!(receive(&deep(100)).is_ok());
    let long = "x".repeat(1 << 20);
    assert!(receive(&format!("{{\"x\": \"{long}\"}}")).is_err(), "no name of a place is so long");
    let many = format!("{{\"x\": \"a\", \"y\": [{}1]}}", "1,".repeat(200_000));
    assert!(receive(&many).is_ok(), "what nobody asks for costs nothing");
}

#[tokio::test]
async fn a_text_that_computes_for_ever_is_stopped() {
    let (bench, _) = bench(
        "http: {base: \"https://a.example\"}\ntools:\n  - name: forge_loop\n    description: A.\n    args: {n: {type: integer}}\n    \
         get: \"/x{% for a in range(args.n) %}{% for b in range(args.n) %}1{% endfor %}{% endfor %}\"\n  \
         - {name: forge_big, description: B., args: {n: {type: integer}}, get: /x, query: {q: \"{{ 'x' * args.n }}\"}}\n",
    );
    let error = bench.call("forge_loop", json!({"n": 90_000})).await.unwrap_err();
    assert!(error.message.contains("computes too much"), "{error}");
    let error = bench.call("forge_big", json!({"n": 1_u64 << 40})).await.unwrap_err();
    assert_eq!(error.kind, Kind::Schema, "{error}");
}
