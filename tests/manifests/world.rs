//! A service that manifests talk to, and a server with folders.

use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tercel_tests::{
    Options, Server,
    loopback::{Loopback, Reply, Request},
    until,
};

type Answer = Box<dyn FnMut(&Request) -> Reply + Send>;

/// What a service on loopback answers, by method and path.
#[derive(Default)]
struct State {
    answers: BTreeMap<String, Answer>,
    received: Vec<Request>,
}

pub struct Service {
    loopback: Loopback,
    state: Arc<Mutex<State>>,
}

impl Service {
    pub fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        let loopback = Loopback::start(move |request| {
            let mut state = shared.lock().unwrap();
            state.received.push(request.clone());
            let asked = format!("{} {}", request.method, request.path);
            let reply = match state.answers.get_mut(&asked) {
                Some(answer) => answer(&request),
                None => Reply::text(404, &[], format!("the service has no {asked}")),
            };
            std::future::ready(reply)
        });
        Self { loopback, state }
    }

    pub fn url(&self) -> String {
        self.loopback.url()
    }

    /// From now on, `POST /notes` is answered like this.
    pub fn on(&self, asked: &str, answer: impl FnMut(&Request) -> Reply + Send + 'static) {
        self.state.lock().unwrap().answers.insert(asked.into(), Box::new(answer));
    }

    pub fn says(&self, asked: &str, json: Value) {
        self.on(asked, move |_| Reply::json(200, &json));
    }

    pub fn received(&self) -> Vec<Request> {
        self.state.lock().unwrap().received.clone()
    }

    #[track_caller]
    pub fn wait_for(&self, asked: &str, count: usize) -> Vec<Request> {
        until(&format!("{count} times {asked}"), || {
            let all = self.received().into_iter();
            let fitting: Vec<_> = all.filter(|one| format!("{} {}", one.method, one.path) == asked).collect();
            Some(fitting).filter(|fitting| fitting.len() >= count)
        })
    }
}

/// Puts a manifest where the operator puts folders.
pub fn put(options: &Options, name: &str, manifest: &str) -> PathBuf {
    let folder = options.place().join("integrations").join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("integration.yaml"), manifest).unwrap();
    folder
}

/// What the API says of an integration.
#[track_caller]
pub fn card(server: &Server, id: &str) -> Value {
    let all = server.get("/api/v1/admin/integrations").expect(200);
    let all = all["integrations"].as_array().unwrap();
    all.iter().find(|one| one["id"] == id).cloned().unwrap_or_default()
}

/// What a test of the connection says, with these values instead of the saved ones.
#[track_caller]
pub fn test(server: &Server, id: &str, values: Value) -> Value {
    server.post(&format!("/api/v1/admin/integrations/{id}/connection/test"), values).expect(200)
}

/// What a tool answers, or its code and message.
#[track_caller]
pub fn tool(server: &Server, name: &str, arguments: Value) -> Result<Value, (String, String)> {
    let answer = server.post(&format!("/api/v1/tools/{name}/call"), json!({"arguments": arguments})).expect(200);
    match answer["ok"] == true {
        true => Ok(answer["result"].clone()),
        false => {
            let text = |key: &str| answer["error"][key].as_str().unwrap_or_default().to_owned();
            Err((text("code"), text("message")))
        }
    }
}
