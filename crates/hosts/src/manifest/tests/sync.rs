//! Records that are pushed to a service.

use super::{bench, made, wrong};
use serde_json::{Value, json};
use tercel_sdk::{Kind, Push, Pushed, sync::Change};

pub const SYNC: &str = r#"
fields: [{key: space, type: text, default: main}]
http: {base: "https://api.forge.example"}
sync:
  collection: jobs
  by: record.id
  row: {space: "{{ fields.space }}", title: "{{ record.title }}", status: "{{ record.status or 'pending' }}", external_id: "{{ key }}"}
  find: {get: /records, query: {external_id: "{{ key }}"}, id: "response.json.items[0].id"}
  create: {post: /records, json: "{{ row }}", id: response.json.id}
  update: {patch: "/records/{{ id }}", json: "{{ row }}"}
  delete: {delete: "/records/{{ id }}", ok: "response.status in [200, 204, 404]"}
"#;

fn push(change: Change, remote: Option<&str>, row: Value) -> Push {
    Push { id: "1".into(), key: "k1".into(), change, remote_id: remote.map(str::to_owned), row }
}

async fn call(rest: &str, fake: &std::sync::Arc<tercel_sdk::testing::Fake>, pushes: Vec<Push>) -> Vec<Pushed> {
    let integration = made(rest);
    let bench = tercel_sdk::testing::check(integration.clone()).world(fake);
    let answer = (integration.sync.unwrap().push)(bench.host(), json!(pushes).into()).await.unwrap();
    serde_json::from_value(answer).unwrap()
}

#[tokio::test]
async fn a_record_is_made_changed_and_removed() {
    let (bench, fake) = bench(SYNC);
    let part = made(SYNC).sync.unwrap();
    let rows = part.rows.unwrap()(
        bench.host(),
        json!([{"key": "k1", "record": {"id": 1, "title": "A", "note": "not sent"}}]).into(),
    )
    .await;
    let row = rows.unwrap()[0].clone();
    assert_eq!(row, json!({"space": "main", "title": "A", "status": "pending", "external_id": "k1"}));
    fake.on("POST /records", 201, json!({"id": 77}));
    fake.on("PATCH /records/77", 200, json!({}));
    fake.on("DELETE /records/77", 404, json!({}));
    let done = call(SYNC, &fake, vec![push(Change::Create, None, row.clone())]).await;
    assert_eq!(done, [Pushed::done("1", Some("77".into()))]);
    let done = call(SYNC, &fake, vec![push(Change::Update, Some("77"), row.clone())]).await;
    assert_eq!(done, [Pushed::done("1", Some("77".into()))], "it keeps its id");
    let done = call(SYNC, &fake, vec![push(Change::Delete, Some("77"), Value::Null)]).await;
    assert_eq!(done[0].error, None, "what is gone already is gone");
    let requests = fake.requests();
    assert_eq!(serde_json::from_slice::<Value>(&requests[0].body).unwrap(), row);
    let done = call(SYNC, &fake, vec![push(Change::Delete, None, Value::Null)]).await;
    assert!(done[0].error.as_ref().unwrap().message.contains("missing or empty"), "never the whole collection");
    assert_eq!(fake.requests().len(), 3);
}

#[tokio::test]
async fn a_record_is_found_by_its_key() {
    let (bench, fake) = bench(SYNC);
    let part = made(SYNC).sync.unwrap();
    let find = part.find.clone().unwrap();
    fake.on("GET /records?external_id=k1", 200, json!({"items": [{"id": 5}]}));
    assert_eq!(find(bench.host(), json!(push(Change::Create, None, Value::Null)).into()).await.unwrap(), json!("5"));
    fake.on("GET /records?external_id=k1", 200, json!({"items": []}));
    assert_eq!(find(bench.host(), json!(push(Change::Create, None, Value::Null)).into()).await.unwrap(), Value::Null);
    fake.on_with("GET /records?external_id=k1", |_| Ok(tercel_sdk::testing::respond(200, &[], "<html>")));
    let error = find(bench.host(), json!(push(Change::Create, None, Value::Null)).into()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Schema, "a page to log in is no answer");
    assert!(part.deletes && !part.idempotent && part.batch == 1);
}

#[tokio::test]
async fn a_record_is_known_by_what_the_manifest_says() {
    let (bench, _) = bench(SYNC);
    let keys = |by: &str| made(&SYNC.replace("record.id", by)).sync.unwrap().keys.unwrap();
    let records = json!([{"id": 7, "url": "https://a.example/1"}, {"id": "x"}]);
    assert_eq!(keys("record.id")(bench.host(), records.clone().into()).await.unwrap(), json!(["7", "x"]));
    let error = keys("record.url")(bench.host(), records.into()).await.unwrap_err();
    assert!(error.message.contains("`by` is null"), "{error}");
    let without = SYNC.replace("  by: record.id\n", "").replace("sync:\n", "record_fields: [title]\nsync:\n");
    let part = made(&without).sync.unwrap();
    assert!(part.keys.is_none() && part.by_id && part.reads == ["title"], "its id is its key");
}

#[tokio::test]
async fn several_records_leave_together() {
    let text = "http: {base: \"https://api.forge.example\"}\nsync:\n  collection: jobs\n  row: {t: \"{{ record.t }}\"}\n  \
                upsert: {batch: 10, put: /records, json: {records: \"{{ items }}\", keys: \"{{ keys }}\"}, ids: response.json.ids}\n";
    let (_, fake) = bench(text);
    fake.on("PUT /records", 200, json!({"ids": ["a", "b"]}));
    let pushes = ["1", "2"].map(|id| Push {
        id: id.into(),
        key: format!("k{id}"),
        change: Change::Create,
        remote_id: None,
        row: json!({"t": id}),
    });
    let done = call(text, &fake, pushes.into()).await;
    assert_eq!(done, [Pushed::done("1", Some("a".into())), Pushed::done("2", Some("b".into()))]);
    assert_eq!(fake.requests()[0].body, r#"{"records":[{"t":"1"},{"t":"2"}],"keys":["k1","k2"]}"#);
    assert_eq!(made(text).sync.unwrap().batch, 10);
}

#[tokio::test]
async fn what_was_done_and_is_answered_unreadably_was_not_refused() {
    let by_header = |text: &str| text.replace("{post: /records,", "{post: /records, idempotency: Idempotency-Key,");
    let rounded = SYNC.replace("id: response.json.id}", "id: response.json.id | round}");
    for (text, body) in [
        (SYNC.to_owned(), "<html>"),
        (by_header(SYNC), "{\"id\": 7"),
        (rounded.clone(), r#"{"id": "x"}"#),
        (by_header(&rounded), r#"{"id": "x"}"#),
    ] {
        let (_, fake) = bench(&text);
        fake.on_with("POST /records", move |_| Ok(tercel_sdk::testing::respond(201, &[], body)));
        let done = call(&text, &fake, vec![push(Change::Create, None, json!({"title": "A"}))]).await;
        assert_eq!(done[0].error.as_ref().unwrap().kind, Kind::UnknownOutcome, "{body} {text}");
        assert_eq!(fake.requests().len(), 1);
    }
    let text = "http: {base: \"https://api.forge.example\"}\nsync:\n  collection: jobs\n  row: {t: \"{{ record.t }}\"}\n  \
                upsert: {put: /records, json: \"{{ items }}\", ids: response.json.ids}\n";
    let (bench, fake) = bench(text);
    fake.on_with("PUT /records", |_| Ok(tercel_sdk::testing::respond(200, &[], "<html>")));
    let pushes = json!([push(Change::Create, None, json!({"t": "1"}))]);
    let error = (made(text).sync.unwrap().push)(bench.host(), pushes.into()).await.unwrap_err();
    assert_eq!(error.kind, Kind::UnknownOutcome);
}

#[test]
fn what_cannot_be_pushed_is_refused() {
    let sync = |rest: &str| {
        wrong(&format!("http: {{base: \"https://a.example\"}}\nsync: {{collection: jobs, row: {{a: b}}{rest}}}\n"))
    };
    assert!(sync("").contains("`sync` needs `create` or `upsert`"));
    assert!(sync(", create: {json: {}}").contains("A request needs one of"));
    assert!(sync(", create: {post: \"/x/{{ id }}\"}").contains("There is no `id` here"));
    assert!(sync(", create: {post: /x}, find: {get: /x}").contains("`find` needs `id`"));
}
