//! Services that speak WebDAV and calendars: their methods, XML, iCalendar, and what is found on the way.

use super::{bench, wrong};
use serde_json::json;
use tercel_sdk::Kind;

const FILES: &str = r#"
fields: [{key: url, type: url, default: "https://dav.forge.example/base"}, {key: pass, type: password}]
http: {base: "{{ fields.url }}"}
tools:
  - name: forge_list
    description: Lists.
    effect: read
    args: {name: {type: string, default: ""}}
    before:
      - as: home
        propfind: /me
        headers: {depth: 0}
        found: response.xml.response | selectattr('propstat.0.prop.0.displayname.0.text', 'eq', args.name) | first
        otherwise: {code: not_found, message: "There is no `{{ args.name }}` among {{ response.xml.response | length }}", hint: Make it}
    report: "{{ before.home.found.href[0].text | url }}"
    xml: <q a="{{ args.name }}">{{ secrets.pass }}</q>
    items: response.xml.response
    item: {path: "{{ item.href[0].text | decode }}", kind: "{{ item['@kind'] }}", size: "{{ item.size[0].text | int }}"}
  - name: forge_event
    description: Enters.
    args: {title: {type: string}, place: {type: string, default: null}, at: {type: string}}
    put: "/{{ key }}.ics"
    ical: |
      BEGIN:VEVENT
      SUMMARY:{{ args.title }}
      LOCATION:{{ args.place }}
      DTSTART:{{ args.at | ical_time }}
      END:VEVENT
    result: "'done'"
"#;

const HOME: &str = r#"<m xmlns="DAV:"><response><href>/base/</href></response><response><href>work%20%26/</href>
    <propstat><prop><displayname>a"&lt;b&gt;</displayname></prop></propstat></response></m>"#;

#[tokio::test]
async fn what_is_found_first_says_where_the_next_request_goes() {
    let (bench, fake) = bench(FILES);
    let bench = bench.with("pass", "p&w");
    fake.on("PROPFIND /base/me", 207, json!(HOME));
    let list = r#"<m><response kind="f"><href>/x%C3%BC</href><size>7</size></response></m>"#;
    fake.on("REPORT /base/work%20%26/", 207, json!(list));
    let found = bench.call("forge_list", json!({"name": "a\"<b>"})).await.unwrap();
    assert_eq!(found, json!([{"path": "https://dav.forge.example/xü", "kind": "f", "size": 7}]));
    let requests = fake.requests();
    assert_eq!(requests[1].body, "<q a=\"a&quot;&lt;b&gt;\">p&amp;w</q>");
    assert_eq!(
        (&requests[1].headers["content-type"], &requests[0].headers["depth"]),
        (&"application/xml; charset=utf-8".parse().unwrap(), &"0".parse().unwrap())
    );
    let error = bench.call("forge_list", json!({"name": "none"})).await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str(), error.hint.as_deref()),
        (Kind::NotFound, "There is no `none` among 2", Some("Make it"))
    );
    fake.on("PROPFIND /base/me", 207, json!("<html><p>Sign in</html>"));
    let error = bench.call("forge_list", json!({"name": "none"})).await.unwrap_err();
    assert!(error.kind == Kind::Schema && error.message.contains("no XML"), "{error}");
}

#[tokio::test]
async fn an_address_that_is_found_lies_on_a_known_host() {
    let (bench, fake) = bench(FILES);
    fake.on("PROPFIND /base/me", 207, json!(HOME.replace("work%20%26/", "https://evil.example/x")));
    let error = bench.call("forge_list", json!({"name": "a\"<b>"})).await.unwrap_err();
    assert!(error.kind == Kind::Forbidden && error.message.contains("evil.example"), "{error}");
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn a_calendar_has_the_lines_that_were_written_and_no_others() {
    let (bench, fake) = bench(FILES);
    fake.on("PUT /base/00000000-0000-0000-0000-000000000000.ics", 201, json!(""));
    let given = json!({"title": "a;b\r\nEND:VEVENT\nX:1", "at": "2026-05-01T10:00:00+02:00"});
    assert_eq!(bench.call("forge_event", given).await.unwrap(), "done");
    let request = &fake.requests()[0];
    assert_eq!(
        request.body,
        "BEGIN:VEVENT\r\nSUMMARY:a\\;b\\nEND:VEVENT\\nX:1\r\nDTSTART:20260501T080000Z\r\nEND:VEVENT\r\n"
    );
    assert_eq!(request.headers["content-type"], "text/calendar; charset=utf-8");
    let error = bench.call("forge_event", json!({"title": "x", "at": "soon"})).await.unwrap_err();
    assert!(error.message.contains("2026-05-01T10:00:00+02:00"), "{error}");
}

#[test]
fn what_goes_with_something_else_is_said() {
    for (request, said) in [
        ("propfind: /x, xml: <a/>, ical: x", "one body"),
        ("get: /x, otherwise: {code: schema, message: No}", "there is no `ok`"),
        ("get: /x, item: {a: 1}", "need `items`"),
        ("mkcol: /x, propfind: /y", "one of"),
        ("get: /x, ok: response.xlm.a", "xml"),
    ] {
        let text = format!(
            "http: {{base: \"https://forge.example\"}}\ntools: [{{name: forge_do, description: d, {request}}}]\n"
        );
        let words = wrong(&text);
        assert!(words.contains(said), "{request}: {words}");
    }
}
