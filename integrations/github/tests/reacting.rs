use super::{github, world};
use serde_json::json;
use tercel_sdk::{
    Kind, Mode, Target,
    hook::{AfterTaskComplete, BeforeContextAssembly, Context},
    host::Ids,
    testing::Bench,
};

fn begins() -> BeforeContextAssembly {
    BeforeContextAssembly { context: Context::default(), user_message: "Look at this".into() }
}

fn has_ended() -> AfterTaskComplete {
    let (task_id, task_type, status) = ("t".into(), "agent".into(), "complete".into());
    AfterTaskComplete { context: Context::default(), task_id, task_type, status }
}

fn answers_to(config: serde_json::Value) -> Bench {
    github().ids(Ids { target: Some(Target::new("github", config)), ..Ids::default() })
}

fn lines(world: &tercel_sdk::testing::Fake) -> Vec<String> {
    world.requests().iter().map(|request| format!("{} {}", request.method, request.url.path())).collect()
}

#[tokio::test]
async fn a_run_is_seen_on_what_it_works_on_until_it_has_ended() {
    for (target, path) in [
        (json!({"repo": "o/h", "number": 7}), "/repos/o/h/issues/7/reactions"),
        (json!({"repo": "o/h", "number": 7, "in_reply_to": 31}), "/repos/o/h/pulls/comments/31/reactions"),
    ] {
        let world = world().on(&format!("POST {path}"), 200, json!({"id": 99, "content": "eyes"})).on(
            &format!("DELETE {path}/99"),
            204,
            json!(""),
        );
        let bench = answers_to(target).world(&world);
        bench.tell(begins()).await.unwrap();
        bench.tell(has_ended()).await.unwrap();
        let (post, delete) = (format!("POST {path}"), format!("DELETE {path}/99"));
        assert_eq!(lines(&world), [post.clone(), post, delete], "made twice it is there once");
        assert_eq!(world.requests()[0].body, r#"{"content":"eyes"}"#);
    }
}

#[tokio::test]
async fn nothing_is_sent_where_no_reaction_is_wanted_or_possible() {
    let here = || json!({"repo": "o/h", "number": 7});
    let rehearsed = Ids { target: Some(Target::new("github", here())), mode: Mode::Rehearse, ..Ids::default() };
    for bench in [
        github(),
        github().ids(rehearsed),
        answers_to(here()).with("reaction", "none"),
        answers_to(here()).with("token", ""),
    ] {
        let world = world();
        let bench = bench.world(&world);
        bench.tell(begins()).await.unwrap();
        bench.tell(has_ended()).await.unwrap();
        assert!(world.requests().is_empty());
    }
}

#[tokio::test]
async fn a_reaction_that_github_does_not_know_is_named_with_those_it_does() {
    let error =
        answers_to(json!({"repo": "o/h", "number": 7})).with("reaction", "wink").tell(begins()).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (Kind::Schema, "GITHUB_REACTION is `wink`"));
    assert!(error.hint.unwrap().contains("rocket, eyes"));
}
