//! A service that keeps rows, as services do: it gives them ids, and knows nothing of repetitions.

use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};
use tercel_tests::{
    Options, Server,
    loopback::{Loopback, Reply, Request},
    until,
    wait::{self, until_within},
};
use tokio::sync::watch;

/// What becomes of the next request that writes.
pub enum Fate {
    /// It is done, and nobody is told.
    Lost,
    /// It is not done.
    Refused(u16, &'static str, &'static str),
    /// It is not done, and nobody is told.
    Swallowed,
    /// It is done, and the answer is that of a proxy that thinks it was not.
    Denied(u16, &'static str, &'static str),
    /// It is done after that time, and nobody is told.
    Late(Duration),
    /// It is done, and told when the register is released.
    Held,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<u64, Value>,
    made: u64,
    asked: Vec<String>,
    fates: VecDeque<Fate>,
    /// What is still to arrive.
    late: usize,
    /// Everybody is refused.
    is_shut: bool,
    /// Whoever looks for something is refused.
    is_blind: bool,
    /// Who else asks than the tester.
    user: Option<&'static str>,
    instead: Option<Instead>,
}

type Instead = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

pub struct Register {
    loopback: Loopback,
    state: Arc<Mutex<State>>,
    is_released: watch::Sender<bool>,
}

impl Register {
    pub fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let (shared, is_released) = (state.clone(), watch::Sender::new(false));
        let released = is_released.subscribe();
        let loopback = Loopback::start(move |request| {
            let (shared, mut released) = (shared.clone(), released.clone());
            async move {
                let fate = shared.lock().unwrap().fate(&request);
                if let Some(Fate::Late(pause)) = fate {
                    std::thread::spawn(move || {
                        wait::pause(pause);
                        let mut state = shared.lock().unwrap();
                        state.done(&request);
                        state.late -= 1;
                    });
                    return Reply::Never;
                }
                let is_held = matches!(fate, Some(Fate::Held));
                let reply = shared.lock().unwrap().answer(&request, fate);
                if is_held {
                    let _ = released.wait_for(|is_released| *is_released).await;
                }
                reply
            }
        });
        Self { loopback, state, is_released }
    }

    /// What was held is told.
    pub fn release(&self) {
        self.is_released.send_replace(true);
    }

    pub fn url(&self) -> String {
        self.loopback.url()
    }

    /// The rows that are there, by the order in which they came.
    pub fn rows(&self) -> Vec<Value> {
        self.state.lock().unwrap().rows.values().cloned().collect()
    }

    /// Their titles.
    pub fn titles(&self) -> Vec<String> {
        self.rows().iter().map(|row| row["title"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub fn sorted_titles(&self) -> Vec<String> {
        let mut titles = self.titles();
        titles.sort();
        titles
    }

    /// What was asked since the last time: `POST /records`.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    pub fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.state.lock().unwrap().fates.extend(fates);
    }

    pub fn wait_for_what_is_late(&self) {
        until("what is late has arrived", || (self.state.lock().unwrap().late == 0).then_some(()));
    }

    pub fn next_is_as_usual(&self) {
        let mut state = self.state.lock().unwrap();
        state.fates.clear();
        state.instead = None;
    }

    /// What of records is answered so is not done.
    pub fn instead(&self, answer: impl FnMut(&Request) -> Option<Reply> + Send + 'static) {
        self.state.lock().unwrap().instead = Some(Box::new(answer));
    }

    pub fn shut(&self, is_shut: bool) {
        self.state.lock().unwrap().is_shut = is_shut;
    }

    pub fn blind(&self, is_blind: bool) {
        self.state.lock().unwrap().is_blind = is_blind;
    }

    /// The account is another one.
    pub fn user(&self, user: &'static str) {
        self.state.lock().unwrap().user = Some(user);
    }

    /// Somebody else writes a row.
    pub fn add(&self, row: Value) {
        self.state.lock().unwrap().add(row);
    }
}

impl State {
    fn add(&mut self, row: Value) -> u64 {
        self.made += 1;
        self.rows.insert(self.made, row);
        self.made
    }

    fn fate(&mut self, request: &Request) -> Option<Fate> {
        self.asked.push(format!("{} {}", request.method, request.path));
        let writes = request.method != "GET" && !self.is_shut;
        let fate = if writes { self.fates.pop_front() } else { None };
        self.late += usize::from(matches!(fate, Some(Fate::Late(_))));
        fate
    }

    fn answer(&mut self, request: &Request, fate: Option<Fate>) -> Reply {
        if self.is_shut {
            return Reply::json(401, &json!({"error": "who are you?"}));
        }
        if request.path == "/ping" {
            return Reply::json(200, &json!({"user": self.user.unwrap_or("tester")}));
        }
        if let Some(reply) = self.instead.as_mut().and_then(|answer| answer(request)) {
            return reply;
        }
        if self.is_blind && request.method == "GET" {
            return Reply::json(403, &json!({"error": "that is not yours to read"}));
        }
        match fate {
            Some(Fate::Refused(status, header, value)) => return Reply::text(status, &[(header, value)], "no"),
            Some(Fate::Swallowed) => return Reply::Close,
            _ => {}
        }
        let reply = self.done(request);
        match fate {
            Some(Fate::Lost) => Reply::Close,
            Some(Fate::Denied(status, header, value)) => Reply::text(status, &[(header, value)], "no"),
            _ => reply,
        }
    }

    fn done(&mut self, request: &Request) -> Reply {
        let id = request.path.strip_prefix("/records/").and_then(|id| id.parse::<u64>().ok());
        match (request.method.as_str(), id) {
            ("GET", None) => {
                let wanted = request.query.get("external_id").cloned().unwrap_or_default();
                let fits = self.rows.iter().filter(|(_, row)| row["external_id"] == json!(wanted));
                let items: Vec<Value> = fits.map(|(id, _)| json!({"id": id})).collect();
                Reply::json(200, &json!({"items": items}))
            }
            ("POST", None) if request.path == "/batch" => {
                let body = request.json();
                let keys: Vec<Value> = body["keys"].as_array().cloned().unwrap_or_default();
                let rows = body["rows"].as_array().cloned().unwrap_or_default();
                let ids: Vec<u64> = keys.into_iter().zip(rows).map(|(key, row)| self.upsert(&key, row)).collect();
                Reply::json(200, &json!({"ids": ids}))
            }
            ("POST", None) => {
                let id = self.add(request.json());
                Reply::json(201, &json!({"id": id}))
            }
            ("PATCH", Some(id)) if self.rows.contains_key(&id) => {
                self.rows.insert(id, request.json());
                Reply::json(200, &json!({}))
            }
            ("DELETE", Some(id)) if self.rows.remove(&id).is_some() => Reply::text(204, &[], ""),
            _ => Reply::json(404, &json!({"error": "not there"})),
        }
    }

    fn upsert(&mut self, key: &Value, mut row: Value) -> u64 {
        row["external_id"] = key.clone();
        match self.rows.iter().find(|(_, there)| there["external_id"] == *key).map(|(id, _)| *id) {
            Some(id) => {
                self.rows.insert(id, row);
                id
            }
            None => self.add(row),
        }
    }
}

/// The manifest of the document's service, in short.
pub const ONE_BY_ONE: &str = r#"
schema: 1
name: register
fields:
  - {key: url, type: url, required: true}
  - {key: token, type: password, required: true}
http: {base: "{{ fields.url }}", auth: {bearer: token}}
test: {depth: auth, get: /ping, account: response.json.user}
sync:
  collection: jobs
  by: record.id
  row: {title: "{{ record.title }}", company: "{{ record.company }}", external_id: "{{ key }}"}
  find: {get: /records, query: {external_id: "{{ key }}"}, id: "response.json.items[0].id"}
  create: {post: /records, json: "{{ row }}", id: response.json.id}
  update: {patch: "/records/{{ id }}", json: "{{ row }}"}
  delete: {delete: "/records/{{ id }}", ok: "response.status in [200, 204, 404]"}
"#;

/// The same for a service that looks nothing up: what may have arrived is for a person to find out.
pub fn without_find() -> String {
    ONE_BY_ONE.lines().filter(|line| !line.trim_start().starts_with("find:")).map(|line| format!("{line}\n")).collect()
}

/// The same for a service that takes many at once, and knows them by their keys.
pub fn in_batches(batch: usize) -> String {
    let head = ONE_BY_ONE.split("  find:").next().unwrap();
    format!(
        "{head}  upsert: {{batch: {batch}, post: /batch, json: {{rows: \"{{{{ items }}}}\", keys: \"{{{{ keys }}}}\"}}, ids: response.json.ids}}\n"
    )
}

pub const PATH: &str = "/api/v1/admin/integrations/register/connection";
pub const NAMED: &str = "/api/v1/admin/integrations/register/connections/default";
pub const TOKEN: &str = "tk-of-the-register-0123456789";

/// How a server is started that has the service connected.
pub fn options(register: &Register, manifest: &str) -> Options {
    let options = Options::new().allow_loopback();
    let folder = options.place().join("integrations/register");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("integration.yaml"), manifest).unwrap();
    options.env("REGISTER_URL", &register.url()).env("REGISTER_TOKEN", TOKEN)
}

pub fn job(id: u64, title: &str) -> Value {
    json!({"id": id, "title": title, "company": "Acme", "note": "for us"})
}

#[track_caller]
pub fn store(server: &Server, jobs: &[Value]) {
    server.post("/api/v1/records/jobs", json!({"records": jobs})).expect(200);
}

/// Starts a sync and answers its report when it has ended.
#[track_caller]
pub fn sync(server: &Server, body: Value) -> Value {
    let task = start(server, body);
    ended(server, &task)
}

#[track_caller]
pub fn start(server: &Server, body: Value) -> String {
    let started = server.post(&format!("{PATH}/sync"), body).expect(202);
    started["task_id"].as_str().unwrap().to_owned()
}

/// Whose ledger a sync goes by is known from here on: one that begins before enters its place once more, and begins
/// nothing until what is on its way has ended.
#[track_caller]
pub fn know_the_account(server: &Server) {
    assert_eq!(server.post(&format!("{NAMED}/test"), json!({})).expect(200)["account"], "tester");
}

#[track_caller]
pub fn ended(server: &Server, id: &str) -> Value {
    // Some wait before they go on, and some push a thousand records.
    until_within(Duration::from_secs(30), "the sync ends", || {
        let report = server.get(&format!("/api/v1/syncs/{id}")).expect(200);
        (!report["ended_at"].is_null()).then_some(report)
    })
}

/// Created, updated, deleted, skipped, failed, unknown.
pub fn counts(report: &Value) -> [i64; 6] {
    ["created", "updated", "deleted", "skipped", "failed", "unknown"].map(|key| report[key].as_i64().unwrap())
}
