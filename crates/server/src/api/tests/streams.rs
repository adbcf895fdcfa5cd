use super::*;
use futures::StreamExt;
use serde_json::json;
use tercel_store::{ClientCalls, Commit, Counts, End, NewStep, Uuid};

/// A task that runs, as a worker would hold it.
async fn running(server: &Server) -> tercel_store::Task {
    let opened = server.call("POST", "/api/v1/sessions", json!({"client_id": "a:b"})).await.json();
    let path = format!("/api/v1/sessions/{}/messages", opened["session_id"].as_str().unwrap());
    server.call("POST", &path, json!({"content": "hello", "run_agent": true})).await;
    server.app.store.claim_tasks(1).await.unwrap().tasks.remove(0)
}

async fn commit(server: &Server, task: &tercel_store::Task, n: i64, end: Option<End>) {
    let body = json!({"kind": "resumed", "by": format!("step {n} with {BOOTSTRAP}")}).to_string();
    let steps = vec![NewStep { n, kind: "resumed".into(), body }];
    let commit = Commit {
        task: task.id,
        attempt: task.attempt,
        steps,
        used: Counts::default(),
        spent: Vec::new(),
        parked: None,
        client: ClientCalls::default(),
        events: Vec::new(),
        begun: false,
        end,
    };
    server.app.store.commit(commit).await.unwrap();
}

fn complete() -> Option<End> {
    Some(End::Complete { message_id: Uuid::now_v7(), text: "done".into(), trusted: true, hops: 0, outbox: Vec::new() })
}

#[tokio::test]
async fn a_stream_has_the_steps_as_they_are_committed_and_ends_with_the_task() {
    let server = server().await;
    let task = running(&server).await;
    commit(&server, &task, 1, None).await;
    let path = format!("/api/v1/tasks/{}/events", task.id);
    let request = request("GET", &path, Some(BOOTSTRAP), &Value::Null);
    let mut stream = server.router.clone().oneshot(request).await.unwrap().into_body().into_data_stream();
    let first = stream.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: step\nid: 1\ndata: {\"n\":1,"), "{first:?}");
    let (rest, ()) = tokio::join!(
        async {
            let mut rest = String::new();
            while let Some(piece) = stream.next().await {
                rest.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
            }
            rest
        },
        async {
            commit(&server, &task, 2, None).await;
            commit(&server, &task, 3, complete()).await;
        }
    );
    let ids: Vec<&str> = rest.lines().filter(|line| line.starts_with("id:")).collect();
    assert_eq!(ids, ["id: 2", "id: 3"]);
    assert!(rest.ends_with("event: end\ndata: {\"status\":\"complete\"}\n\n"), "{rest}");
    assert!(!rest.contains(BOOTSTRAP), "a secret is shown: {rest}");
}

#[tokio::test]
async fn a_resumed_stream_has_the_steps_after_its_id() {
    let server = server().await;
    let task = running(&server).await;
    commit(&server, &task, 1, None).await;
    commit(&server, &task, 2, complete()).await;
    let mut request =
        request("GET", &format!("/api/v1/tasks/{}/events?after=0", task.id), Some(BOOTSTRAP), &Value::Null);
    request.headers_mut().insert("last-event-id", "1".parse().unwrap());
    let answer = send(&server.router, request).await;
    assert!(answer.text().starts_with("event: step\nid: 2\n"), "{}", answer.text());
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops_and_a_cancelled_task_ends_it() {
    let server = server().await;
    let task = running(&server).await;
    let path = format!("/api/v1/tasks/{}/events", task.id);
    let (answer, ()) = tokio::join!(server.call("GET", &path, Value::Null), async {
        tokio::task::yield_now().await;
        server.app.stopping.cancel();
    });
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
}

#[tokio::test]
async fn a_task_is_cancelled_once_and_resumed_only_when_it_waits() {
    let server = server().await;
    let task = running(&server).await;
    let path = format!("/api/v1/tasks/{}", task.id);
    assert_eq!(server.call("POST", &format!("{path}/resume"), Value::Null).await.status, 409);
    let error = json!({"code": "auth", "message": "no"}).to_string();
    commit(&server, &task, 1, Some(End::Waiting(error))).await;
    let shown = server.call("GET", &path, Value::Null).await.json();
    assert_eq!(
        (shown["status"].clone(), shown["error"].clone()),
        (json!("waiting"), json!({"code": "auth", "message": "no"}))
    );
    assert_eq!(server.call("POST", &format!("{path}/resume"), Value::Null).await.json()["status"], "pending");
    assert_eq!(server.call("POST", &format!("{path}/cancel"), Value::Null).await.json()["status"], "cancelled");
    assert_eq!(server.call("POST", &format!("{path}/cancel"), Value::Null).await.status, 200);
    let events = server.call("GET", &format!("{path}/events?after=9"), Value::Null).await;
    assert_eq!(events.text(), "event: end\ndata: {\"status\":\"cancelled\"}\n\n");
}

#[tokio::test]
async fn a_trace_has_everything_of_a_task_and_no_secret() {
    let server = server().await;
    let task = running(&server).await;
    commit(&server, &task, 1, complete()).await;
    let answer = server.call("GET", &format!("/api/v1/tasks/{}/trace", task.id), Value::Null).await;
    let trace = answer.json();
    let keys: Vec<&str> = trace.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["delivery", "verification", "session", "message", "task", "steps", "outbox", "egress"]);
    assert_eq!((trace["task"]["result"].clone(), trace["steps"][0]["n"].clone()), (json!("done"), json!(1)));
    assert!(!answer.text().contains(BOOTSTRAP));
}
