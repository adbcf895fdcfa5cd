//! What services do on bad days, and what all shipped manifests make of it: one table for the tests of connections, one for
//! what is posted.

use crate::world::{card, put, test};
use futures::stream;
use serde_json::{Value, json};
use std::{
    fs, io,
    sync::{Arc, Mutex},
    thread,
};
use tercel_tests::{
    FakeModel, Options, Server, Turn,
    loopback::{Loopback, Reply, Request},
    tree::root,
};

const SECRET: &str = "secret-of-the-tests-0123456789abcdef";

struct Shipped {
    id: &'static str,
    /// Environment; `URL` stands for where the fake is.
    settings: &'static [(&'static str, &'static str)],
    /// Who the test says it is, when all goes well.
    account: &'static str,
    /// What it answers on good days.
    good: fn(&Request) -> Reply,
    /// What statuses mean that mean something else than usual.
    means: &'static [(u16, &'static str)],
    /// The target of an answer, and whether a post that may have happened is looked for.
    posts: Option<(&'static str, bool)>,
}

const ALL: [Shipped; 10] = [
    Shipped {
        id: "airtable",
        settings: &[
            ("AIRTABLE_API_URL", "URL"),
            ("AIRTABLE_API_KEY", SECRET),
            ("AIRTABLE_BASE_ID", "appAbCdEfGhIjKlMn"),
            ("AIRTABLE_TABLE_NAME", "My jobs/2026"),
        ],
        account: "My jobs/2026",
        good: airtable,
        means: &[(422, "schema")],
        posts: None,
    },
    Shipped {
        id: "caldav",
        settings: &[
            ("CALDAV_CALDAV_URL", "URL"),
            ("CALDAV_USERNAME", "alice"),
            ("CALDAV_APP_PASSWORD", SECRET),
            ("CALDAV_CALENDAR_NAME", "Work"),
        ],
        account: "alice, Work",
        good: caldav,
        means: &[],
        posts: None,
    },
    Shipped {
        id: "discord",
        settings: &[("DISCORD_WEBHOOK_URL", "URL/api/webhooks/1/secret-of-the-tests-0123456789abcdef")],
        account: "Deploys",
        good: discord,
        means: &[(404, "auth")],
        posts: Some((r#"{"type": "discord"}"#, false)),
    },
    Shipped {
        id: "home_assistant",
        settings: &[
            ("HOME_ASSISTANT_BASE_URL", "URL"),
            ("HOME_ASSISTANT_TOKEN", SECRET),
            ("HOME_ASSISTANT_NOTIFICATION_SERVICE", "phone"),
        ],
        account: "phone",
        good: home_assistant,
        means: &[],
        posts: Some((r#"{"type": "home_assistant"}"#, false)),
    },
    Shipped {
        id: "nextcloud",
        settings: &[
            ("NEXTCLOUD_HOST", "URL"),
            ("NEXTCLOUD_USERNAME", "alice"),
            ("NEXTCLOUD_PASSWORD", SECRET),
            ("NEXTCLOUD_FOLDER_PATH", "Jobs"),
        ],
        account: "alice",
        good: nextcloud,
        means: &[(409, "not_found")],
        posts: None,
    },
    Shipped {
        id: "notion",
        settings: &[
            ("NOTION_API_URL", "URL"),
            ("NOTION_TOKEN", SECRET),
            ("NOTION_DATABASE_ID", "248104cd477e80fdb757e945d38000bd"),
        ],
        account: "Jobs",
        good: notion,
        means: &[(409, "network")],
        posts: None,
    },
    Shipped {
        id: "ntfy",
        settings: &[("NTFY_URL", "URL"), ("NTFY_TOPIC", "alerts"), ("NTFY_TOKEN", SECRET)],
        account: "alerts",
        good: ntfy,
        means: &[],
        posts: Some((r#"{"type": "ntfy"}"#, true)),
    },
    Shipped {
        id: "slack",
        settings: &[
            ("SLACK_API_URL", "URL"),
            ("SLACK_BOT_TOKEN", SECRET),
            ("SLACK_SIGNING_SECRET", "signing-secret-0123456789"),
        ],
        account: "tercel, Team",
        good: slack,
        means: &[],
        posts: Some((r#"{"type": "slack", "channel": "C0123456789"}"#, true)),
    },
    Shipped {
        id: "slack_webhook",
        settings: &[("SLACK_WEBHOOK_WEBHOOK_URL", "URL/services/T0/B0/secret-of-the-tests-0123456789abcdef")],
        account: "default",
        good: slack_webhook,
        means: &[(404, "auth")],
        posts: Some((r#"{"type": "slack_webhook"}"#, false)),
    },
    Shipped {
        id: "telegram",
        settings: &[("TELEGRAM_API_URL", "URL"), ("TELEGRAM_BOT_TOKEN", SECRET)],
        account: "tercel_bot",
        good: telegram,
        means: &[(404, "auth"), (409, "forbidden")],
        posts: Some((r#"{"type": "telegram", "chat": 42}"#, false)),
    },
];

fn airtable(request: &Request) -> Reply {
    assert_eq!(request.path, "/v0/appAbCdEfGhIjKlMn/My%20jobs%2F2026");
    assert_eq!(request.header("authorization"), format!("Bearer {SECRET}"));
    Reply::json(200, &json!({"records": []}))
}

fn caldav(request: &Request) -> Reply {
    let prop = match request.path.as_str() {
        "/" => "<d:current-user-principal><d:href>/p/alice/</d:href></d:current-user-principal>",
        "/p/alice/" => "<c:calendar-home-set><d:href>/h/</d:href></c:calendar-home-set>",
        "/h/" => "<d:displayname>Work</d:displayname>",
        _ => "<c:supported-calendar-component-set><c:comp name=\"VEVENT\"/></c:supported-calendar-component-set>",
    };
    let href = if request.path == "/h/" { "/h/work/" } else { &request.path };
    let body = format!(
        "<?xml version=\"1.0\"?><d:multistatus xmlns:d=\"DAV:\" xmlns:c=\"urn:ietf:params:xml:ns:caldav\"><d:response><d:href>{href}</d:href>\
         <d:propstat><d:prop>{prop}</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"
    );
    Reply::text(207, &[("content-type", "application/xml; charset=utf-8")], body)
}

fn discord(request: &Request) -> Reply {
    match request.method.as_str() {
        "GET" => Reply::json(200, &json!({"id": "1", "type": 1, "name": "Deploys"})),
        _ => Reply::json(200, &json!({"id": "900"})),
    }
}

fn home_assistant(request: &Request) -> Reply {
    match request.path.as_str() {
        "/api/services" => Reply::json(200, &json!([{"domain": "notify", "services": {"phone": {}}}])),
        _ => Reply::json(200, &json!([])),
    }
}

fn nextcloud(request: &Request) -> Reply {
    assert_eq!((request.method.as_str(), request.path.as_str()), ("PROPFIND", "/remote.php/dav/files/alice/Jobs/"));
    caldav(request)
}

fn notion(request: &Request) -> Reply {
    assert_eq!(request.header("notion-version"), "2025-09-03");
    match request.path.starts_with("/v1/databases/") {
        true => Reply::json(200, &json!({"data_sources": [{"id": "ds1", "name": "Jobs"}]})),
        false => {
            let properties = json!({"Name": {}, "Company": {}, "Link": {}, "Status": {}, "Key": {}});
            Reply::json(200, &json!({"title": [{"plain_text": "Jobs"}], "properties": properties}))
        }
    }
}

fn ntfy(request: &Request) -> Reply {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/alerts/auth") => Reply::json(200, &json!({"success": true})),
        ("GET", _) => Reply::text(200, &[("content-type", "application/x-ndjson")], ""),
        _ => Reply::json(200, &json!({"id": "m1"})),
    }
}

fn slack(request: &Request) -> Reply {
    assert_eq!(request.header("authorization"), format!("Bearer {SECRET}"));
    match request.path.as_str() {
        "/auth.test" => Reply::json(200, &json!({"ok": true, "user": "tercel", "team": "Team"})),
        "/conversations.history" => {
            Reply::json(200, &json!({"ok": true, "messages": [{"ts": "0.1", "text": "other"}]}))
        }
        _ => Reply::json(200, &json!({"ok": true, "ts": "1750000000.000100"})),
    }
}

fn slack_webhook(request: &Request) -> Reply {
    match request.json()["text"].as_str() {
        Some(text) if !text.is_empty() => Reply::text(200, &[], "ok"),
        _ => Reply::text(400, &[], "no_text"),
    }
}

fn telegram(request: &Request) -> Reply {
    let result = match request.path.rsplit('/').next().unwrap() {
        "getMe" => json!({"username": "tercel_bot"}),
        "getUpdates" => json!([]),
        "sendMessage" => json!({"message_id": 5}),
        _ => json!(true),
    };
    Reply::json(200, &json!({"ok": true, "result": result}))
}

/// What a service does with every request that is not about what is new.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Good,
    Says(u16),
    Slow,
    /// Headers and half of the body.
    Truncated,
    /// What some proxy says instead.
    Page,
    HangsUp,
    /// Once says that this is too often.
    BusyOnce,
}

struct Fake {
    loopback: Loopback,
    mood: Arc<Mutex<Mood>>,
    posts: Arc<Mutex<usize>>,
}

impl Fake {
    fn start(good: fn(&Request) -> Reply) -> Self {
        let (mood, posts) = (Arc::new(Mutex::new(Mood::Good)), Arc::new(Mutex::new(0)));
        let (shared, counted) = (mood.clone(), posts.clone());
        let loopback = Loopback::start(move |request| {
            let mut mood = shared.lock().unwrap();
            let is_aside = ["getUpdates", "sendChatAction", "conversations.history"]
                .iter()
                .any(|path| request.path.ends_with(path))
                || (request.method == "GET" && request.query.contains_key("poll"));
            // The server tests connections by itself, too.
            let is_test = request.path.ends_with("/auth.test") || request.json() == json!({});
            let is_message = request.method == "POST" && !is_aside && !is_test;
            *counted.lock().unwrap() += usize::from(is_message);
            std::future::ready(match *mood {
                _ if is_aside => good(&request),
                Mood::Good => good(&request),
                Mood::BusyOnce if !is_message => good(&request),
                Mood::Says(status) => says(status, "600"),
                Mood::BusyOnce => {
                    *mood = Mood::Good;
                    says(429, "1")
                }
                Mood::Slow => Reply::Never,
                Mood::HangsUp => Reply::Close,
                Mood::Page => Reply::text(200, &[("content-type", "text/html")], "<html><body>Sign in to the network"),
                Mood::Truncated => {
                    let pieces =
                        [Ok("{\"ok\": true, \"success\": tr".into()), Err(io::Error::other("the test breaks off"))];
                    Reply::stream("application/json", stream::iter(pieces))
                }
            })
        });
        Self { loopback, mood, posts }
    }

    fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn posts(&self) -> usize {
        *self.posts.lock().unwrap()
    }
}

/// It quotes what it was sent, as some do.
fn says(status: u16, wait: &str) -> Reply {
    let body = json!({"ok": false, "message": format!("No, {SECRET}"), "error": {"type": "NO", "message": "No"}});
    let mut headers = vec![("content-type", "application/json")];
    headers.extend((status == 429).then_some(("retry-after", wait)));
    Reply::text(status, &headers, body.to_string())
}

/// A server with all of them, each with less patience than it ships with.
fn world(model: Option<&FakeModel>) -> (Server, Vec<Fake>) {
    let mut options = Options::new();
    let mut fakes = Vec::new();
    for shipped in &ALL {
        let fake = Fake::start(shipped.good);
        for (name, value) in shipped.settings {
            options = options.env(name, &value.replace("URL", &fake.loopback.url()));
        }
        let text = fs::read_to_string(root().join("integrations").join(shipped.id).join("integration.yaml")).unwrap();
        let (before, rest) = text.split_once("timeout: ").expect("it says how long it waits");
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
        put(&options, shipped.id, &format!("{before}timeout: 1s{}", &rest[end..]));
        fakes.push(fake);
    }
    if let Some(model) = model {
        options = options.model(model);
    }
    (Server::start(options), fakes)
}

/// Asks all at once.
fn each(fakes: &[Fake], check: impl Fn(&Shipped, &Fake) + Sync) {
    thread::scope(|scope| {
        for (shipped, fake) in ALL.iter().zip(fakes) {
            let check = &check;
            scope.spawn(move || check(shipped, fake));
        }
    });
}

#[test]
fn a_test_of_a_connection_says_what_is_wrong_in_words() {
    let (server, fakes) = world(None);
    let usual = [
        (Mood::Says(401), "auth"),
        (Mood::Says(403), "forbidden"),
        (Mood::Says(404), "not_found"),
        (Mood::Says(409), "schema"),
        (Mood::Says(500), "error"),
        (Mood::Says(503), "network"),
        (Mood::Slow, "timeout"),
        (Mood::Truncated, "network"),
        (Mood::HangsUp, "network"),
        (Mood::Page, "schema"),
        // Last: for so long nobody is asked any more.
        (Mood::Says(429), "rate_limited"),
    ];
    each(&fakes, |shipped, fake| {
        let id = shipped.id;
        // Webhooks of a home are there when somebody wants them.
        assert!(["ready", "partial"].contains(&card(&server, id)["status"].as_str().unwrap()), "{id}");
        let good = test(&server, id, json!({}));
        assert_eq!((&good["ok"], &good["account"]), (&json!(true), &json!(shipped.account)), "{id}: {good:#}");
        for (mood, usual) in usual {
            fake.be(mood);
            let bad = test(&server, id, json!({}));
            let own = |status| shipped.means.iter().find(|(own, _)| *own == status).map(|(_, code)| *code);
            let code = match mood {
                Mood::Says(status) => own(status).unwrap_or(usual),
                _ => usual,
            };
            // What a POST did before nothing was heard, nobody knows; a test changes nothing, and says the same.
            let is_lost = bad["code"] == "unknown_outcome" && id.starts_with("slack");
            assert!(bad["ok"] == false && (bad["code"] == code || is_lost), "{id}, {mood:?}: {bad:#}");
            let message = bad["message"].as_str().unwrap();
            assert!(message.len() > 10 && !bad.to_string().contains(SECRET), "{id}, {mood:?}: {bad:#}");
            if code == "auth" {
                assert!(bad["hint"].as_str().is_some_and(|hint| hint.len() > 10), "{id}: {bad:#}");
            }
        }
    });
    assert!(!server.log().contains(SECRET) && !server.options.stored().contains(SECRET));
}

#[test]
fn what_is_posted_is_sent_again_only_when_it_surely_was_not_taken() {
    let model = FakeModel::start();
    model.script(|_| Turn::text("It is <b>fine</b> & *well*."));
    let (server, fakes) = world(Some(&model));
    each(&fakes, |shipped, fake| {
        let Some((target, is_found)) = shipped.posts else { return };
        let id = shipped.id;
        let target: Value = serde_json::from_str(target).unwrap();
        let mut rounds = vec![
            (Mood::Good, "sent", 1),
            (Mood::BusyOnce, "sent", 2),
            (Mood::Says(403), "dead", 1),
            (Mood::Says(409), "dead", 1),
        ];
        // Where it can be looked for and is not there, it is sent again and again, until it is.
        if !is_found {
            rounds.extend([
                (Mood::Says(500), "held", 1),
                (Mood::Slow, "held", 1),
                (Mood::Truncated, "held", 1),
                (Mood::HangsUp, "held", 1),
            ]);
        }
        for (round, (mood, state, count)) in rounds.into_iter().enumerate() {
            let session = server.session(&format!("web:{id}-{round}"));
            let before = fake.posts();
            fake.be(mood);
            let task =
                server.ask_with(&session, json!({"content": "And?", "dispatch_config": target, "notify": false}));
            let row = server.outbox(&task, &["sent", "dead", "held"]);
            assert_eq!(row["state"], state, "{id}, {mood:?}: {row:#}");
            assert_eq!(fake.posts() - before, count, "{id}, {mood:?}: {row:#}");
            assert!(!row.to_string().contains(SECRET), "{row:#}");
        }
        // A refused credential waits for a person and goes on with them.
        fake.be(Mood::Says(401));
        let session = server.session(&format!("web:{id}-parked"));
        let task = server.ask_with(&session, json!({"content": "And?", "dispatch_config": target, "notify": false}));
        let parked = server.outbox(&task, &["parked", "waiting", "held", "dead", "sent"]);
        assert_eq!(parked["state"], "parked", "{id}: {parked:#}");
    });
    assert!(!server.log().contains(SECRET) && !server.options.stored().contains(SECRET));
}
