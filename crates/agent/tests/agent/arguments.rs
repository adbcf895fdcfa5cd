//! Arguments: read, mended, checked.

use proptest::prelude::*;
use serde_json::{Value, json};
use tercel_agent::arguments::{check, parse, usable};
use tercel_sdk::chat::ToolSpec;

fn spec(parameters: Value) -> ToolSpec {
    ToolSpec { name: "t".into(), description: String::new(), parameters }
}

fn property(schema: Value) -> ToolSpec {
    spec(json!({"type": "object", "properties": {"x": schema}}))
}

fn problem(parameters: Value, arguments: Value) -> String {
    check(&spec(parameters), arguments).problem.expect("a problem")
}

#[test]
fn nothing_is_an_empty_object_and_double_encoding_is_undone() {
    for (written, expected) in [
        ("", json!({})),
        (" \n", json!({})),
        ("null", json!({})),
        ("{}", json!({})),
        (r#""{\"a\": 1}""#, json!({"a": 1})),
        (r#""plain""#, json!("plain")),
        ("[1]", json!([1])),
    ] {
        assert_eq!(parse(written), Ok(expected), "{written}");
    }
}

#[test]
fn malformed_arguments_name_the_place() {
    assert_eq!(
        parse(r#"{"title": "ü", "body" "x"}"#).unwrap_err(),
        "The arguments are not valid JSON: expected `:` at line 1 column 24, near `itle\": \"ü\", \"body\" \"x\"}`. Write one JSON object."
    );
    assert!(parse(&"[".repeat(100_000)).unwrap_err().contains("recursion limit"));
}

#[test]
fn values_with_one_meaning_are_mended() {
    let table = [
        (json!({"type": "integer"}), json!("5"), json!(5)),
        (json!({"type": "integer"}), json!(5.0), json!(5)),
        (json!({"type": "integer"}), json!("-3"), json!(-3)),
        (json!({"type": "number"}), json!("2.5"), json!(2.5)),
        (json!({"type": "string"}), json!(5), json!("5")),
        (json!({"type": "string"}), json!(true), json!("true")),
        (json!({"type": "boolean"}), json!("true"), json!(true)),
        (json!({"type": "boolean"}), json!("False"), json!(false)),
        (json!({"type": "array", "items": {"type": "string"}}), json!("a"), json!(["a"])),
        (json!({"type": "array", "items": {"type": "integer"}}), json!("7"), json!([7])),
        (json!({"type": "array", "items": {"type": "integer"}}), json!("[1, 2]"), json!([1, 2])),
        (json!({"type": "array", "items": {"type": "integer"}}), json!(["1", 2]), json!([1, 2])),
        (json!({"type": "object"}), json!(r#"{"a": 1}"#), json!({"a": 1})),
        (json!({"type": ["integer", "null"]}), json!("5"), json!(5)),
        (json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), json!("5"), json!(5)),
        (json!({"enum": [1, 2]}), json!("2"), json!(2)),
        (json!({"type": "object", "properties": {"y": {"type": "integer"}}}), json!({"y": "1"}), json!({"y": 1})),
    ];
    for (schema, given, expected) in table {
        let checked = check(&property(schema.clone()), json!({"x": given}));
        assert_eq!((checked.arguments, checked.problem), (json!({"x": expected}), None), "{schema} {given}");
    }
}

#[test]
fn values_with_more_than_one_meaning_stay() {
    let table = [
        (json!({"type": "integer"}), json!("007")),
        (json!({"type": "integer"}), json!("123456789012345678901234567890")),
        (json!({"type": "integer"}), json!("five")),
        (json!({"type": "integer"}), json!(2.5)),
        (json!({"type": "integer"}), json!(true)),
        (json!({"type": "boolean"}), json!("yes")),
        (json!({"type": "boolean"}), json!(1)),
        (json!({"type": "object"}), json!("[1]")),
        (json!({"type": "string"}), json!({"a": 1})),
    ];
    for (schema, given) in table {
        let checked = check(&property(schema.clone()), json!({"x": given}));
        assert_eq!(checked.arguments, json!({"x": given}), "{schema}");
        assert!(checked.problem.is_some(), "{schema} {given}");
    }
    let text_or_number = json!({"anyOf": [{"type": "integer"}, {"type": "string"}]});
    assert_eq!(check(&property(text_or_number), json!({"x": "5"})).arguments, json!({"x": "5"}));
}

#[test]
fn null_for_what_may_be_left_out_is_left_out() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": ["string", "null"]}}, "required": ["b"]});
    let checked = check(&spec(schema), json!({"a": null, "b": null, "c": null}));
    assert_eq!(checked.arguments, json!({"b": null, "c": null}));
    assert_eq!(
        checked.problem.unwrap(),
        "The arguments of `t` do not fit: `b` must be string, is null. Expected: a (string), b (string, required), c (string or null)."
    );
}

#[test]
fn every_problem_is_named_with_what_is_expected() {
    let schema = json!({
        "type": "object",
        "properties": {
            "owner": {"type": "string"},
            "limit": {"type": "integer", "maximum": 100},
            "state": {"enum": ["open", "closed"]},
            "filter": {"type": "object", "properties": {"label": {"type": "string"}}, "additionalProperties": false}
        },
        "required": ["owner"]
    });
    assert_eq!(
        problem(schema, json!({"limit": 500, "state": "all", "filter": {"lable": "x"}, "dry_run": true})),
        "The arguments of `t` do not fit: `limit`: the number is greater than the maximum of 100; `state` must be one of \
         \"open\", \"closed\"; `filter.lable` is unknown: allowed are label; `dry_run` is unknown: \
         allowed are owner, limit, state, filter; `owner` is missing. Expected: owner (string, required), limit (integer), \
         state (any), filter (object)."
    );
}

#[test]
fn unknown_properties_pass_only_where_the_schema_takes_them() {
    let extra = json!({"y": 1});
    assert!(check(&property(json!({})), extra.clone()).problem.is_some());
    let open = json!({"type": "object", "properties": {}, "additionalProperties": true});
    for schema in [open, json!({"type": "object"}), json!({}), json!(null)] {
        let checked = check(&spec(schema.clone()), extra.clone());
        assert_eq!((checked.arguments, checked.problem), (extra.clone(), None), "{schema}");
    }
    let none = problem(json!({"type": "object", "properties": {}}), extra);
    assert_eq!(none, "The arguments of `t` do not fit: `y` is unknown: it takes none. It takes no arguments: send {}.");
}

#[test]
fn arguments_are_an_object_whatever_the_schema_says() {
    for schema in [json!({"type": "object"}), json!({}), json!(null)] {
        assert_eq!(problem(schema, json!([1])), "The arguments of `t` do not fit: they must be an object, not array.");
    }
}

#[test]
fn an_unusable_schema_is_reported_when_it_comes_in_and_lets_calls_through() {
    let broken = json!({"type": "object", "properties": {"x": {"type": "any"}}});
    assert!(usable(&broken).is_err());
    assert!(usable(&json!({"type": "object", "properties": {"x": {"$ref": "https://example.com/s.json"}}})).is_err());
    assert_eq!(usable(&json!({"type": "object"})), Ok(()));
    assert_eq!(check(&spec(broken), json!({"x": 1})).problem, None);
}

#[test]
fn references_are_followed_and_circles_end() {
    let schema = json!({
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/tree"}},
        "$defs": {"tree": {"type": "object", "properties": {"n": {"type": "integer"}, "of": {"$ref": "#/$defs/tree"}}}}
    });
    let checked = check(&spec(schema), json!({"x": {"n": "1", "of": {"n": "2"}}}));
    assert_eq!((checked.arguments, checked.problem), (json!({"x": {"n": 1, "of": {"n": 2}}}), None));
    for schema in [json!({"$ref": "#"}), json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"$ref": "#"}]})] {
        assert_eq!(check(&spec(schema), json!({"x": 1})).arguments, json!({"x": 1}));
    }
}

/// A schema in which each of so many places leads twice to the next one, by this keyword.
fn doubling(keyword: &str, places: usize, last: Value) -> Value {
    let name = |n: usize| format!("#/$defs/d{n}");
    let next = |n: usize| json!({keyword: [{"$ref": name(n + 1)}, {"$ref": name(n + 1)}]});
    let mut defs: serde_json::Map<String, Value> = (0..places).map(|n| (format!("d{n}"), next(n))).collect();
    defs.insert(format!("d{places}"), last);
    json!({"type": "object", "properties": {"x": {"$ref": name(0)}}, "$defs": defs})
}

#[test]
fn a_schema_by_which_a_check_would_not_end_is_refused_and_ends_all_the_same() {
    let circle = json!({"type": "object", "allOf": [{"$ref": "#"}, {"$ref": "#"}]});
    assert_eq!(usable(&circle).unwrap_err(), "it leads back to itself by `$ref` without going into the value");
    let doubling = |keyword: &str| doubling(keyword, 60, json!({"type": "boolean"}));
    for schema in [circle, doubling("allOf"), doubling("anyOf"), doubling("oneOf")] {
        assert!(usable(&schema).is_err(), "{schema}");
        let checked = check(&spec(schema), json!({"x": "1"}));
        let said = "The arguments of `t` do not fit: there are too many ways to read them: write less at once.";
        assert!(checked.problem.as_deref().is_some_and(|problem| problem.starts_with(said)), "{:?}", checked.problem);
    }
    let chain = (0..100).fold(json!({}), |inner, _| json!({"not": inner}));
    assert_eq!(usable(&chain).unwrap_err(), "more than 64 places lead to one another by `$ref`, `allOf` and the like");
    let again = (0..5).fold(json!({}), |inner, _| json!({"allOf": [inner], "unevaluatedProperties": false}));
    assert!(usable(&again).unwrap_err().contains("unevaluatedProperties"));
}

#[test]
fn schemas_as_programs_write_them_can_be_used() {
    let kinds = |n: usize| {
        let kind =
            json!({"properties": {"kind": {"const": n}, "of": {"type": "array", "items": {"$ref": "#/$defs/block"}}}});
        (format!("k{n}"), kind)
    };
    let mut defs: serde_json::Map<String, Value> = (0..20).map(kinds).collect();
    let any: Vec<Value> = (0..20).map(|n| json!({"$ref": format!("#/$defs/k{n}")})).collect();
    defs.insert("block".into(), json!({"anyOf": any}));
    let schema = json!({"$id": "https://example.com/blocks", "type": "object", "$defs": defs, "properties": {
        "block": {"$ref": "#/$defs/block"},
        "$id": {"type": "string"},
    }});
    assert_eq!(usable(&schema), Ok(()));
    let nested = |depth| json!({"block": (0..depth).fold(json!({"kind": 1}), |of, _| json!({"kind": 2, "of": [of]}))});
    assert_eq!(check(&spec(schema.clone()), nested(2)).problem, None);
    // Each of the twenty kinds looks at what is inside of a block, and so on.
    assert!(check(&spec(schema), nested(30)).problem.unwrap().contains("too many ways"));
}

#[test]
fn a_schema_names_nothing_that_lies_elsewhere() {
    for (schema, said) in [
        (json!({"$ref": "https://example.com/s.json"}), "`$ref` can only name a place in the schema, as `#/…`"),
        (json!({"$ref": "#/$defs/none"}), "`$ref` can only name a place in the schema, as `#/…`"),
        (json!({"$dynamicRef": "#x"}), "`$dynamicRef` is not taken: use `$ref`"),
        (json!({"$defs": {"a": {"$id": "https://example.com/a"}}}), "`$id` can only stand at its beginning"),
    ] {
        let refused = usable(&schema).unwrap_err();
        assert!(refused.starts_with(said), "{refused}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9.{}\\[\\]\":]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[a-c]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn mending_twice_is_mending_once_and_what_fits_is_kept(value in any_json(), kind in 0..6usize) {
        let kind = ["string", "integer", "number", "boolean", "array", "object"][kind];
        let spec = property(json!({"type": kind}));
        let given = json!({"x": value});
        let once = check(&spec, given.clone());
        let again = check(&spec, once.arguments.clone());
        prop_assert_eq!(&again.arguments, &once.arguments);
        prop_assert_eq!(again.problem, once.problem);
        let fits = match kind {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            _ => value.is_i64(),
        };
        if fits {
            prop_assert_eq!(once.arguments, given);
        }
    }
}
