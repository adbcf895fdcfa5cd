//! GitHub's API as far as the server uses it. It remembers comments, so that doing something twice can be seen.

use crate::{
    Turn,
    events::{Event, PATH, REPOSITORY, issue, pull, repository, user},
    loopback::{Loopback, Reply, Request},
    until,
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// Who the token belongs to.
pub const LOGIN: &str = "tercel-bot";
pub const DIFF: &str = "diff --git a/hello.txt b/hello.txt\n@@ -1 +1,2 @@\n-hello\n+hello, everybody\n+hello again\n";

/// A model's wish to read a pull request, and nothing more to say until it has been read.
pub fn reads_pull_request(number: u64) -> Turn {
    Turn::call("github_get_pr", json!({"repo": REPOSITORY, "number": number}))
}

/// What goes wrong, and whether the effect happens all the same.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing happens but this answer.
    Status(u16, Vec<(&'static str, String)>),
    /// Nothing happens, nobody answers.
    Hang,
    /// Nothing happens, the connection is closed.
    Close,
    /// It happens, then nobody answers.
    AcceptAndHang,
    /// It happens, then the connection is closed.
    AcceptAndClose,
    /// It happens, then this answer.
    AcceptAndStatus(u16),
}

/// Which requests a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Everything,
    /// Making comments.
    Posts,
    /// Changing them.
    Edits,
    Reads,
    /// `GET /user`.
    User,
}

#[derive(Debug, Clone)]
pub struct Comment {
    pub id: u64,
    pub repository: String,
    pub number: u64,
    /// The review comment that this one answers.
    pub in_reply_to: Option<u64>,
    pub body: String,
    pub login: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    comments: Vec<Comment>,
    /// How many there ever were.
    made: u64,
    faults: Vec<(On, Fault, usize)>,
    delay: Duration,
    quoted: String,
    /// Issues and comments that polls find, in order.
    issues: Vec<Value>,
    created: Vec<Value>,
    remarks: Vec<Value>,
    deliveries: Vec<Undelivered>,
    asked_again: Vec<Event>,
}

/// What GitHub tried to deliver by the repository's webhook while nobody was there.
struct Undelivered {
    id: u64,
    event: Event,
    at: DateTime<Utc>,
}

pub struct FakeGitHub {
    loopback: Loopback,
    state: Arc<Mutex<State>>,
}

impl FakeGitHub {
    pub fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        let loopback = Loopback::start(move |request| {
            let state = shared.clone();
            async move {
                let delay = {
                    let mut state = state.lock().unwrap();
                    state.requests.push(request.clone());
                    state.delay
                };
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                answer(&mut state.lock().unwrap(), request)
            }
        });
        Self { loopback, state }
    }

    pub fn url(&self) -> String {
        self.loopback.url()
    }

    /// Every comment that was made, in order.
    pub fn comments(&self) -> Vec<Comment> {
        self.state.lock().unwrap().comments.clone()
    }

    /// Every issue that was made by the API, in order.
    pub fn created(&self) -> Vec<Value> {
        self.state.lock().unwrap().created.clone()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How often a comment was asked for, whether it came to be or not.
    pub fn posts(&self) -> usize {
        self.requests().iter().filter(|request| request.method == "POST").count()
    }

    #[track_caller]
    pub fn wait_for_comments(&self, count: usize) -> Vec<Comment> {
        until(&format!("{count} comments"), || Some(self.comments()).filter(|comments| comments.len() >= count))
    }

    /// Somebody removes every comment there is.
    pub fn remove_comments(&self) {
        self.state.lock().unwrap().comments.clear();
    }

    /// From now on, until [`FakeGitHub::recover`].
    pub fn fail(&self, on: On, fault: Fault) {
        self.fail_times(usize::MAX, on, fault);
    }

    /// The next so many matching requests.
    pub fn fail_times(&self, times: usize, on: On, fault: Fault) {
        self.state.lock().unwrap().faults.push((on, fault, times));
    }

    pub fn recover(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// Every answer takes so long from now on.
    pub fn delay(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// Every comment there is was made by this one.
    pub fn sign_as(&self, login: &str) {
        self.state.lock().unwrap().comments.iter_mut().for_each(|comment| comment.login = login.into());
    }

    /// From now on, this is in every body: of issues, pull requests and failures.
    pub fn quotes(&self, text: &str) {
        self.state.lock().unwrap().quoted = text.into();
    }

    /// Somebody opens an issue.
    pub fn open_issue(&self, number: u64) {
        let mut issue = issue(number);
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        (issue["created_at"], issue["updated_at"]) = (now.clone().into(), now.into());
        self.state.lock().unwrap().issues.push(issue);
    }

    /// Somebody comments on an issue.
    pub fn remark(&self, number: u64, text: &str) {
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        let url = format!("https://api.github.com/repos/{REPOSITORY}/issues/{number}");
        let mut state = self.state.lock().unwrap();
        let id = 7_000 + state.remarks.len();
        let remark = json!({"id": id, "body": text, "user": user("bob"), "issue_url": url, "html_url": "", "created_at": now, "updated_at": now});
        state.remarks.push(remark);
    }

    /// An event whose delivery fails because nobody is there.
    pub fn fail_to_deliver(&self, event: &Event) {
        let mut state = self.state.lock().unwrap();
        let id = 500 + state.deliveries.len() as u64;
        state.deliveries.push(Undelivered { id, event: event.clone(), at: Utc::now() });
    }

    /// What the server asked to be delivered again.
    pub fn asked_again(&self) -> Vec<Event> {
        self.state.lock().unwrap().asked_again.clone()
    }

    /// Nobody listens at the address.
    pub fn shut(&mut self) {
        self.loopback.shut();
    }

    pub fn open(&mut self) {
        self.loopback.open();
    }
}

/// Headers of an exhausted rate limit.
pub fn exhausted(reset_in: i64) -> Vec<(&'static str, String)> {
    let reset = Utc::now().timestamp() + reset_in;
    vec![
        ("x-ratelimit-limit", "5000".into()),
        ("x-ratelimit-remaining", "0".into()),
        ("x-ratelimit-reset", reset.to_string()),
    ]
}

fn answer(state: &mut State, request: Request) -> Reply {
    let fault = state.faults.iter_mut().find(|(on, _, left)| *left > 0 && hits(*on, &request)).map(|fault| {
        fault.2 -= 1;
        fault.1.clone()
    });
    match fault {
        None => serve(state, &request),
        Some(Fault::Status(status, headers)) => {
            let mut all = vec![("content-type", "application/json; charset=utf-8")];
            all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
            let limited = headers.iter().any(|(name, _)| name.starts_with("x-ratelimit") || *name == "retry-after");
            let message = if status == 403 && limited { LIMITED } else { said(status) };
            let message = format!("{message}{}", state.quoted);
            let body = json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()});
            Reply::text(status, &all, body.to_string())
        }
        Some(Fault::Hang) => Reply::Never,
        Some(Fault::Close) => Reply::Close,
        Some(Fault::AcceptAndHang) => {
            serve(state, &request);
            Reply::Never
        }
        Some(Fault::AcceptAndClose) => {
            serve(state, &request);
            Reply::Close
        }
        Some(Fault::AcceptAndStatus(status)) => {
            serve(state, &request);
            Reply::json(status, &json!({"message": said(status)}))
        }
    }
}

fn hits(on: On, request: &Request) -> bool {
    match on {
        On::Everything => true,
        On::Posts => request.method == "POST",
        On::Edits => request.method == "PATCH",
        On::Reads => request.method == "GET",
        On::User => request.path == "/user",
    }
}

/// GitHub answers an exhausted limit with the status of a missing permission.
const LIMITED: &str = "API rate limit exceeded for user ID 583231.";

fn said(status: u16) -> &'static str {
    match status {
        401 => "Bad credentials",
        403 => "Resource not accessible by personal access token",
        404 => "Not Found",
        422 => "Validation Failed",
        429 => "You have exceeded a secondary rate limit.",
        _ => "Server Error",
    }
}

fn serve(state: &mut State, request: &Request) -> Reply {
    if request.header("authorization").is_empty() {
        return Reply::json(401, &json!({"message": "Requires authentication"}));
    }
    let path: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["user"]) => Reply::json(200, &user(LOGIN)),
        ("GET", ["repos", owner, name]) => Reply::json(200, &repository(&format!("{owner}/{name}"))),
        ("GET", ["repos", _, _, "issues"]) => since(request, &state.issues),
        ("GET", ["repos", _, _, "issues", "comments"]) => since(request, &state.remarks),
        ("GET", ["repos", _, _, "pulls", "comments"]) => since(request, &[]),
        ("GET", ["repos", _, _, "pulls", number]) if request.header("accept").contains("diff") => {
            let _: u64 = number.parse().unwrap();
            Reply::text(200, &[("content-type", "application/vnd.github.diff; charset=utf-8")], DIFF)
        }
        ("GET", ["repos", _, _, "pulls", number]) => Reply::json(200, &quoting(state, pull(number.parse().unwrap()))),
        ("GET", ["repos", _, _, "pulls", _, "files"]) => paged(
            request,
            vec![json!({
                "sha": "a".repeat(40), "filename": "hello.txt", "status": "modified", "additions": 2, "deletions": 1, "changes": 3,
                "patch": "@@ -1 +1,2 @@\n-hello\n+hello, everybody\n+hello again",
            })],
        ),
        ("GET", ["repos", _, _, "pulls", _, "reviews"]) => paged(request, Vec::new()),
        ("GET", ["repos", owner, name, kind @ ("issues" | "pulls"), number, "comments"]) => {
            let wanted = (format!("{owner}/{name}"), number.parse().unwrap(), *kind == "pulls");
            let since = request.query.get("since").map(|text| DateTime::parse_from_rfc3339(text).unwrap());
            let found = state.comments.iter().filter(|comment| {
                (comment.repository.as_str(), comment.number, comment.in_reply_to.is_some())
                    == (wanted.0.as_str(), wanted.1, wanted.2)
                    && since.is_none_or(|since| comment.created_at.timestamp() >= since.timestamp())
            });
            paged(request, found.map(Comment::json).collect())
        }
        ("GET", ["repos", _, _, "issues", number]) => Reply::json(200, &quoting(state, issue(number.parse().unwrap()))),
        ("GET", ["repos", _, _, "contents", ..]) if request.header("accept").contains("raw") => {
            Reply::text(200, &[("content-type", "application/vnd.github.raw+json; charset=utf-8")], "hello\n")
        }
        ("GET", ["repos", _, _, "contents", rest @ ..]) => Reply::json(
            200,
            &json!({
                "type": "file", "encoding": "base64", "content": "aGVsbG8K\n", "name": rest.last(), "path": rest.join("/"),
                "sha": "b".repeat(40), "size": 6,
            }),
        ),
        ("POST", ["repos", _, _, "issues", _, "reactions"]) => Reply::json(201, &json!({"id": 77, "content": "eyes"})),
        ("DELETE", ["repos", _, _, "issues", _, "reactions", "77"]) => Reply::text(204, &[], ""),
        ("GET", ["repos", _, _, "hooks"]) => {
            let url = format!("https://tercel.example{PATH}");
            paged(
                request,
                vec![json!({"id": 31, "name": "web", "active": true, "events": ["*"], "config": {"url": url}})],
            )
        }
        ("GET", ["repos", _, _, "hooks", "31", "deliveries"]) => {
            let shown = |failed: &Undelivered| {
                json!({
                    "id": failed.id, "guid": failed.event.delivery, "delivered_at": failed.at.to_rfc3339(), "redelivery": false,
                    "status": "failed to connect to host", "status_code": 502, "event": failed.event.name,
                })
            };
            paged(request, state.deliveries.iter().rev().map(shown).collect())
        }
        ("POST", ["repos", _, _, "hooks", "31", "deliveries", id, "attempts"]) => {
            match state.deliveries.iter().find(|failed| failed.id.to_string() == **id) {
                Some(failed) => {
                    state.asked_again.push(failed.event.clone());
                    Reply::json(202, &json!({}))
                }
                None => Reply::json(404, &json!({"message": "Not Found"})),
            }
        }
        ("GET", ["search", _]) => {
            Reply::json(200, &json!({"total_count": 1, "incomplete_results": false, "items": [issue(7)]}))
        }
        ("POST", ["repos", _, _, "issues"]) => {
            let mut made = issue(100 + state.created.len() as u64);
            made["title"] = request.json()["title"].clone();
            state.created.push(made.clone());
            Reply::json(201, &made)
        }
        ("POST", ["repos", owner, name, "issues", number, "comments"]) => {
            made(state, request, format!("{owner}/{name}"), number.parse().unwrap(), None)
        }
        ("PATCH", ["repos", owner, name, kind @ ("issues" | "pulls"), "comments", id]) => {
            let repository = format!("{owner}/{name}");
            let comment = state.comments.iter_mut().find(|comment| {
                comment.repository == repository
                    && comment.id.to_string() == **id
                    && comment.in_reply_to.is_some() == (*kind == "pulls")
            });
            match comment {
                Some(comment) => {
                    comment.body = request.json()["body"].as_str().unwrap().into();
                    Reply::json(200, &comment.json())
                }
                None => Reply::json(404, &json!({"message": "Not Found"})),
            }
        }
        ("POST", ["repos", owner, name, "pulls", number, "comments", to, "replies"]) => {
            made(state, request, format!("{owner}/{name}"), number.parse().unwrap(), Some(to.parse().unwrap()))
        }
        _ => Reply::json(404, &json!({"message": "Not Found"})),
    }
}

fn quoting(state: &State, mut thing: Value) -> Value {
    thing["body"] = format!("{}{}", thing["body"].as_str().unwrap(), state.quoted).into();
    thing
}

fn made(state: &mut State, request: &Request, repository: String, number: u64, in_reply_to: Option<u64>) -> Reply {
    let json = request.json();
    let Some(body) = json["body"].as_str().filter(|body| !body.is_empty() && body.chars().count() <= 65_536) else {
        return Reply::json(
            422,
            &json!({"message": "Validation Failed", "errors": [{"field": "body", "code": "invalid"}]}),
        );
    };
    let comment = Comment {
        id: 9_000 + state.made,
        repository,
        number,
        in_reply_to,
        body: body.into(),
        login: LOGIN.into(),
        created_at: Utc::now(),
    };
    state.made += 1;
    state.comments.push(comment.clone());
    Reply::json(201, &comment.json())
}

impl Comment {
    fn url(&self) -> String {
        let Self { repository, number, id, .. } = self;
        match self.in_reply_to {
            Some(_) => format!("https://github.com/{repository}/pull/{number}#discussion_r{id}"),
            None => format!("https://github.com/{repository}/issues/{number}#issuecomment-{id}"),
        }
    }

    fn json(&self) -> Value {
        let at = self.created_at.to_rfc3339_opts(SecondsFormat::Secs, true);
        json!({
            "id": self.id, "body": self.body, "user": user(&self.login), "created_at": at, "updated_at": at, "in_reply_to_id": self.in_reply_to,
            "html_url": self.url(),
        })
    }
}

/// What was changed since, as far as that is asked for.
fn since(request: &Request, list: &[Value]) -> Reply {
    let since = request.query.get("since").map_or("", |text| text.as_str());
    let changed = list.iter().filter(|item| item["updated_at"].as_str().unwrap() >= since);
    paged(request, changed.cloned().collect())
}

/// A page of a list, with the `Link` header GitHub sends while there is more.
fn paged(request: &Request, list: Vec<Value>) -> Reply {
    let number = |name: &str, default: usize| request.query.get(name).map_or(default, |text| text.parse().unwrap());
    let (size, page) = (number("per_page", 30).min(100), number("page", 1));
    let more = list.len() > size * page;
    let list: Vec<Value> = list.into_iter().skip(size * (page - 1)).take(size).collect();
    let next = format!("<https://api.github.com{}?per_page={size}&page={}>; rel=\"next\"", request.path, page + 1);
    let mut headers = vec![("content-type", "application/json; charset=utf-8")];
    if more {
        headers.push(("link", &next));
    }
    Reply::text(200, &headers, Value::from(list).to_string())
}
