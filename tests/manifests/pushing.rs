//! What shipped manifests do with a record: it is created, found, changed and removed, and never there twice.

use crate::{
    caldav, nextcloud,
    world::{Service, put},
};
use serde_json::{Value, json};
use std::{
    fs,
    sync::{Arc, Mutex},
};
use tercel_tests::{Options, loopback::Reply, tree::root};

/// Pushes a record by hand: what was asked and answered, and what came of it.
fn push(options: Options, id: &str) -> Value {
    let text = fs::read_to_string(root().join("integrations").join(id).join("integration.yaml")).unwrap();
    let folder = put(&options, id, &text);
    let record = json!({
        "id": "job/7 #1", "title": "Engineer & \"co\"; <b>", "company": "Ümläut, Inc\r\nEND:VEVENT", "url": "https://jobs.example/7?a=1&b=2",
        "status": "interviewing", "interview_date": "2026-05-01T10:00:00+02:00", "description": "Many\nlines {{ secrets.token }}",
    });
    let said = options.run(&["record", folder.to_str().unwrap(), "--push", &record.to_string(), "--yes"]).ok();
    assert!(said.contains("fixtures/recorded/push.json"), "{said}");
    serde_json::from_slice(&fs::read(folder.join("fixtures/recorded/push.json")).unwrap()).unwrap()
}

/// Methods and statuses, in order.
fn asked(pushed: &Value) -> Vec<String> {
    let exchanges = pushed["exchanges"].as_array().unwrap().iter();
    exchanges
        .map(|one| format!("{} {}", one["request"]["method"].as_str().unwrap(), one["response"]["status"]))
        .collect()
}

#[test]
fn a_record_is_one_file() {
    let (real, options) = nextcloud::settings();
    let pushed = push(options, "nextcloud");
    assert_eq!(asked(&pushed), ["MKCOL 405", "PUT 201", "PROPFIND 207", "PUT 204", "DELETE 204"], "{pushed:#}");
    let result = &pushed["result"];
    assert_eq!((&result["created"], &result["found"]), (&json!("job-7 #1.md"), &json!("job-7 #1.md")), "{pushed:#}");
    let text = result["row"]["text"].as_str().unwrap();
    assert!(text.starts_with("# Engineer & \"co\"; <b>\n") && text.contains("{{ secrets.token }}"), "{text}");
    assert_eq!(pushed["exchanges"][1]["request"]["body"], text);
    assert_eq!(fs::read_dir(real.path().join(nextcloud::FOLDER)).unwrap().count(), 0, "it was removed again");
}

#[test]
fn a_record_is_one_event() {
    let (real, options) = caldav::settings();
    let pushed = push(options, "caldav");
    let all = asked(&pushed);
    let last: Vec<&str> =
        all.iter().filter(|asked| !asked.starts_with("PROPFIND 207")).map(|asked| &asked[..4]).collect();
    assert_eq!(last, ["PUT ", "PUT ", "DELE"], "{pushed:#}");
    assert_eq!(pushed["result"]["found"], "recorded", "{pushed:#}");
    let event = pushed["exchanges"][3]["request"]["body"].as_str().unwrap();
    assert_eq!(event.lines().filter(|line| *line == "END:VEVENT").count(), 1, "{event}");
    assert!(
        event.contains("DTSTART:20260501T080000Z\r\nDURATION:PT1H\r\nSUMMARY:Engineer & \"co\"\\; <b>\\, "),
        "{event}"
    );
    assert_eq!(caldav::kept(&real), [] as [String; 0]);
}

#[test]
fn a_record_is_one_page() {
    let service = Service::start();
    let pages: Arc<Mutex<Vec<Value>>> = Arc::default();
    let database = "248104cd477e80fdb757e945d38000bd";
    service.says(&format!("GET /v1/databases/{database}"), json!({"data_sources": [{"id": "ds1", "name": "Jobs"}]}));
    let kept = pages.clone();
    service.on("POST /v1/pages", move |request| {
        let page = request.json();
        assert_eq!(page["parent"], json!({"type": "data_source_id", "data_source_id": "ds1"}));
        kept.lock().unwrap().push(page);
        Reply::json(200, &json!({"object": "page", "id": "p1"}))
    });
    let kept = pages.clone();
    service.on("POST /v1/data_sources/ds1/query", move |request| {
        let key = request.json()["filter"]["rich_text"]["equals"].clone();
        let kept = kept.lock().unwrap();
        let fits = kept.iter().filter(|page| page["properties"]["Key"]["rich_text"][0]["text"]["content"] == key);
        Reply::json(200, &json!({"results": fits.map(|_| json!({"id": "p1"})).collect::<Vec<_>>()}))
    });
    service.says("PATCH /v1/pages/p1", json!({"object": "page", "id": "p1"}));
    let options =
        Options::new().env("NOTION_API_URL", &service.url()).env("NOTION_TOKEN", "ntn_of-the-tests-0123456789");
    let pushed = push(options.env("NOTION_DATABASE_ID", database), "notion");
    let expected = ["GET 200", "POST 200", "GET 200", "POST 200", "PATCH 200", "PATCH 200"];
    assert_eq!(asked(&pushed), expected, "{pushed:#}");
    assert_eq!((&pushed["result"]["created"], &pushed["result"]["found"]), (&json!("p1"), &json!("p1")), "{pushed:#}");
    let properties = pages.lock().unwrap()[0]["properties"].clone();
    assert_eq!(properties["title"], json!({"title": [{"text": {"content": "Engineer & \"co\"; <b>"}}]}));
    assert_eq!(properties["Status"], json!({"select": {"name": "interviewing"}}));
    assert_eq!(pushed["exchanges"][5]["request"]["body"], json!({"in_trash": true}));
    assert!(service.received().iter().all(|request| request.header("notion-version") == "2025-09-03"));
}

#[test]
fn a_record_is_one_row() {
    let service = Service::start();
    let table = "/v0/appAbCdEfGhIjKlMn/My%20jobs%2F2026";
    service.on(&format!("PATCH {table}"), |request| {
        let asked = request.json();
        assert_eq!(asked["performUpsert"], json!({"fieldsToMergeOn": ["Key"]}));
        let records = asked["records"].as_array().unwrap().iter();
        let records: Vec<Value> =
            records.map(|one| json!({"id": "recAbCdEfGhIjKlMn", "fields": one["fields"]})).collect();
        Reply::json(200, &json!({"records": records, "createdRecords": [], "updatedRecords": ["recAbCdEfGhIjKlMn"]}))
    });
    service.says(&format!("DELETE {table}/recAbCdEfGhIjKlMn"), json!({"id": "recAbCdEfGhIjKlMn", "deleted": true}));
    let options =
        Options::new().env("AIRTABLE_API_URL", &service.url()).env("AIRTABLE_API_KEY", "pat-of-the-tests-0123456789");
    let options = options.env("AIRTABLE_BASE_ID", "appAbCdEfGhIjKlMn").env("AIRTABLE_TABLE_NAME", "My jobs/2026");
    let pushed = push(options, "airtable");
    assert_eq!(asked(&pushed), ["PATCH 200", "PATCH 200", "DELETE 200"], "{pushed:#}");
    assert_eq!(pushed["result"]["created"], "recAbCdEfGhIjKlMn", "{pushed:#}");
    let fields = &pushed["exchanges"][0]["request"]["body"]["records"][0]["fields"];
    assert_eq!(
        (&fields["Key"], &fields["Link"]),
        (&json!("recorded"), &json!("https://jobs.example/7?a=1&b=2")),
        "{pushed:#}"
    );
}
