use crate::{
    tools::Arguments,
    world::{board, open, place, start},
};
use serde_json::{Map, Value, json};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tercel_sdk::{Host, Integration, Outbound, Receipt, Result, dispatcher, reads, writes};
use tercel_store::{Commit, Counts, NewStep};
use tokio::{runtime::Runtime, sync::Notify};

/// A tool that hangs the first time it is called and answers from then on.
struct Sticky {
    begun: Arc<Notify>,
    calls: Arc<AtomicUsize>,
}

impl Sticky {
    fn new() -> Self {
        Self { begun: Arc::default(), calls: Arc::default() }
    }

    fn call(
        &self,
    ) -> impl Fn(Host, Arguments) -> futures::future::BoxFuture<'static, Result<Value>> + Send + Sync + Clone + 'static
    {
        let (begun, calls) = (self.begun.clone(), self.calls.clone());
        move |_, _| {
            let (begun, calls) = (begun.clone(), calls.clone());
            Box::pin(async move {
                if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                    begun.notify_one();
                    std::future::pending::<()>().await;
                }
                Ok(json!("at last"))
            })
        }
    }
}

/// Starts a run whose tool hangs, and ends the process in the middle. Answers the task.
fn interrupted(place: &Path, integration: Integration, begun: &Notify) -> String {
    let process = Runtime::new().unwrap();
    let task = process.block_on(async {
        let world = start(place, vec![integration]).await;
        let session = world.session(json!({"type": "none"})).await;
        let task = world.say(&session, "call board_sticky").await;
        begun.notified().await;
        // The writer stops in order; what is open is cut off.
        world.app.stopping.cancel();
        world.app.store.close().await;
        task
    });
    process.shutdown_timeout(std::time::Duration::from_secs(5));
    task
}

fn resumed(place: &Path, integrations: Vec<Integration>, task: &str) -> Value {
    Runtime::new().unwrap().block_on(async { start(place, integrations).await.ended(task).await })
}

#[test]
fn a_run_whose_reading_tool_hung_when_the_server_stopped_goes_on_and_reads_again() {
    let (place, tool) = (place(), Sticky::new());
    let integration = board().tool("board_sticky", reads(tool.call()));
    let task = interrupted(place.path(), integration.clone(), &tool.begun);
    let ended = resumed(place.path(), vec![integration], &task);
    assert_eq!((&ended["status"], &ended["result"]), (&json!("complete"), &json!("at last")));
    assert_eq!(tool.calls.load(Ordering::SeqCst), 2);
}

#[test]
fn a_run_whose_writing_tool_hung_when_the_server_stopped_does_not_write_twice() {
    let (place, tool) = (place(), Sticky::new());
    let integration = board().tool("board_sticky", writes(tool.call()));
    let task = interrupted(place.path(), integration.clone(), &tool.begun);
    let ended = resumed(place.path(), vec![integration], &task);
    assert_eq!(ended["status"], "complete", "{ended:#}");
    assert!(ended["result"].as_str().unwrap().starts_with("outcome unknown"), "{ended:#}");
    assert_eq!(tool.calls.load(Ordering::SeqCst), 1);
}

#[test]
fn a_run_goes_on_without_an_integration_that_is_gone() {
    let (place, tool) = (place(), Sticky::new());
    let task = interrupted(place.path(), board().tool("board_sticky", reads(tool.call())), &tool.begun);
    let ended = resumed(place.path(), Vec::new(), &task);
    assert_eq!(ended["status"], "complete", "{ended:#}");
    assert!(ended["result"].as_str().unwrap().contains("There is no tool `board_sticky`"), "{ended:#}");
}

#[test]
fn an_answer_for_an_integration_that_is_gone_is_a_dead_letter() {
    let place = place();
    let process = Runtime::new().unwrap();
    let task = process.block_on(async {
        let deliver = async |_: Host, _: Map<String, Value>, _: Outbound| Ok(Receipt::default());
        let world = open(place.path(), vec![board().dispatcher(dispatcher(deliver))]).await;
        let session = world.session(json!({"type": "board"})).await;
        let task = world.say(&session, "hello").await;
        world.stop().await;
        task
    });
    process.shutdown_timeout(std::time::Duration::from_secs(5));
    Runtime::new().unwrap().block_on(async {
        let world = start(place.path(), Vec::new()).await;
        let row = world.row(&task, "dead").await;
        assert_eq!(row["error"]["message"], "There is no dispatch type `board`");
        assert_eq!(world.ended(&task).await["status"], "complete");
    });
}

#[test]
fn a_run_whose_steps_are_damaged_fails_and_says_so() {
    let place = place();
    let process = Runtime::new().unwrap();
    let task = process.block_on(async {
        let world = open(place.path(), Vec::new()).await;
        let session = world.session(json!({"type": "none"})).await;
        world.say(&session, "hello").await;
        let task = world.app.store.claim_tasks(1).await.unwrap().tasks.remove(0);
        let steps = vec![NewStep { n: 1, kind: "model".into(), body: "{\"kind\": \"mod".into() }];
        let commit = Commit {
            task: task.id,
            attempt: 1,
            steps,
            used: Counts::default(),
            spent: Vec::new(),
            parked: None,
            client: Default::default(),
            events: Vec::new(),
            begun: false,
            end: None,
        };
        world.app.store.commit(commit).await.unwrap();
        let next = world.say(&session, "and now?").await;
        world.stop().await;
        (task.id.to_string(), next)
    });
    process.shutdown_timeout(std::time::Duration::from_secs(5));
    Runtime::new().unwrap().block_on(async {
        let world = start(place.path(), Vec::new()).await;
        let ended = world.ended(&task.0).await;
        assert_eq!(ended["status"], "failed", "{ended:#}");
        let why = ended["error"]["message"].as_str().unwrap();
        assert!(why.starts_with("The run could not go on: Stored JSON cannot be read"), "{why}");
        assert_eq!(world.ended(&task.1).await["result"], "You said: and now?", "its session goes on");
    });
}

#[tokio::test]
async fn an_answer_whose_target_cannot_be_read_is_kept_and_waits() {
    let place = place();
    let world = start(place.path(), Vec::new()).await;
    let session = world.session(json!({"type": "none"})).await;
    world.app.store.open_session("test:place", "default", "", None, Some("{damaged".into())).await.unwrap();
    let task = world.say(&session, "hello").await;
    let ended = world.ended(&task).await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!("complete"), &json!("You said: hello")), "{ended:#}");
    world.row(&task, "parked").await;
    assert_eq!(world.open_notices().await, ["parked:unreadable"]);
}

#[test]
fn a_stop_waits_for_what_can_end_and_starts_nothing_new() {
    let place = place();
    let process = Runtime::new().unwrap();
    let tasks = process.block_on(async {
        let world = start(place.path(), Vec::new()).await;
        let session = world.session(json!({"type": "none"})).await;
        let tasks = vec![world.say(&session, "one").await, world.say(&session, "two").await];
        world.stop().await;
        tasks
    });
    process.shutdown_timeout(std::time::Duration::from_secs(5));
    Runtime::new().unwrap().block_on(async {
        let world = start(place.path(), Vec::new()).await;
        for task in tasks {
            assert_eq!(world.ended(&task).await["status"], "complete");
        }
    });
}

#[test]
fn a_run_that_ends_the_process_each_time_is_given_up() {
    let place = place();
    let in_a_process = |number: usize| {
        let process = Runtime::new().unwrap();
        process.block_on(async {
            let world = open(place.path(), Vec::new()).await;
            if number == 0 {
                let session = world.session(json!({"type": "none"})).await;
                world.say(&session, "hello").await;
            }
            world.app.store.claim_tasks(1).await.unwrap();
            world.stop().await;
        });
        process.shutdown_timeout(std::time::Duration::from_secs(5));
    };
    (0..21).for_each(in_a_process);
    Runtime::new().unwrap().block_on(async {
        let world = start(place.path(), Vec::new()).await;
        let task = world.get("/api/v1/tasks").await[0]["id"].as_str().unwrap().to_owned();
        let ended = world.ended(&task).await;
        let why = &ended["error"]["message"];
        assert_eq!(
            (&ended["status"], why),
            (&json!("failed"), &json!("The server ended 21 times in the middle of this run"))
        );
        assert_eq!(world.model_calls(), 0);
    });
}
