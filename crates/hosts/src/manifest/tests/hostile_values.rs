//! Values that are no texts, or far too large, in each place where a value can stand.

use super::{bench, hostile::FORGE};
use serde_json::{Value, json};
use tercel_sdk::Kind;

/// A JSON of so many levels.
fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({"a": inner}) })
}

/// With whether it can stand where only text can.
fn values() -> Vec<(Value, bool)> {
    vec![
        (json!(0), true),
        (json!(-1), true),
        (json!(u64::MAX), true),
        (json!(i64::MIN), true),
        (json!(1e308), true),
        (json!(5e-324), true),
        (json!(0.1), true),
        (json!(true), true),
        (json!([]), false),
        (json!({}), false),
        (json!([1, [2, "a/b"]]), false),
        (json!({"__proto__": {"a": 1}, "constructor": "x", "$ref": "#"}), false),
        (deep(100), false),
        (json!("x".repeat(1 << 20)), true),
        (json!("\u{10ffff}\u{fffd}"), true),
    ]
}

#[tokio::test]
async fn in_json_a_value_stays_what_it_is() {
    for (value, _) in values() {
        let (bench, fake) = bench(FORGE);
        let _ = bench.with("token", "t").call("forge_json", json!({"x": value})).await;
        let sent: Value = serde_json::from_slice(&fake.requests()[0].body).unwrap();
        assert_eq!(sent["x"], value);
    }
}

#[tokio::test]
async fn where_only_text_can_stand_a_list_is_an_error_and_a_number_is_its_digits() {
    for (tool, allows_lists) in
        [("forge_path", false), ("forge_header", false), ("forge_form", true), ("forge_query", true)]
    {
        for (value, is_text) in values() {
            let (bench, fake) = bench(FORGE);
            let outcome = bench.with("token", "t").call(tool, json!({"x": value})).await;
            let has_nested =
                value.as_array().is_some_and(|list| list.iter().any(|item| !item.is_string() && !item.is_number()));
            let is_list = value.is_array() && !has_nested && allows_lists;
            match (is_text || is_list, fake.requests().len()) {
                (true, 1) => {}
                (false, 0) => assert_eq!(outcome.unwrap_err().kind, Kind::Schema),
                (_, count) => panic!("{tool} {value}: {count} requests, {outcome:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_whole_number_keeps_all_its_digits() {
    for (number, digits) in [(json!(u64::MAX), "18446744073709551615"), (json!(i64::MIN), "-9223372036854775808")] {
        let (bench, fake) = bench(FORGE);
        let bench = bench.with("token", "t");
        let _ = bench.call("forge_path", json!({"x": number})).await;
        let _ = bench.call("forge_text", json!({"x": number})).await;
        let requests = fake.requests();
        assert_eq!(requests[0].url.path(), format!("/v1/a/{digits}/b"));
        assert_eq!(requests[1].body, digits);
    }
}

#[tokio::test]
async fn arguments_that_are_no_object_or_have_other_names_are_refused() {
    let (bench, fake) = bench(FORGE);
    let bench = bench.with("token", "t");
    for arguments in [json!([]), json!("x"), json!(1), json!({}), json!({"x": "a", "y": "b"}), json!({"__proto__": 1})]
    {
        assert_eq!(bench.call("forge_path", arguments.clone()).await.unwrap_err().kind, Kind::Schema, "{arguments}");
    }
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn the_deepest_json_that_can_be_read_is_passed_on_whole() {
    let (bench, fake) = bench(FORGE);
    let bench = bench.with("token", "t");
    // One level more, and it is refused where it is read.
    let text = deep(126).to_string();
    assert!(serde_json::from_str::<Value>(&format!("[[{text}]]")).is_err());
    let value: Value = serde_json::from_str(&text).unwrap();
    let _ = bench.call("forge_json", json!({"x": value})).await;
    let body = String::from_utf8(fake.requests()[0].body.to_vec()).unwrap();
    assert!(body.starts_with(&format!("{{\"x\":{text},")), "{body}");
}
