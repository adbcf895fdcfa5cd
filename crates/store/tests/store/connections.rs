//! Connections: what tests of them said, and values that count for a while besides newer ones.

use crate::world::World;
use tercel_store::{NewSetting, Saved, Tested};

fn tested(code: &str, account: Option<&str>, saved: Saved) -> Tested {
    Tested {
        integration: "example".into(),
        connection: "default".into(),
        code: code.into(),
        message: format!("It says {code}"),
        account: account.map(str::to_owned),
        saved,
        ..Tested::default()
    }
}

async fn tests_of_a_connection_say_since_when_it_fails_and_how_often(world: World) {
    let put = async |code, account, saved| world.store.put_tested(tested(code, account, saved)).await.unwrap().unwrap();
    let (before, first) = put("ok", Some("me"), Saved::Now).await;
    assert_eq!((before, first.failing_since, first.failures), (None, None, 0));
    let (before, failing) = put("network", None, Saved::Before).await;
    assert_eq!(before.unwrap(), first);
    assert_eq!((failing.failures, failing.account.as_deref()), (1, Some("me")), "whose it is stays known");
    let (_, still) = put("auth", None, Saved::Before).await;
    assert_eq!((still.failures, still.failing_since), (2, failing.failing_since), "since the first failure");
    put("auth", None, Saved::Before).await;
    let (_, well) = put("ok", Some("you"), Saved::Before).await;
    assert_eq!((well.failures, well.failing_since, well.account.as_deref()), (0, None, Some("you")));
    assert_eq!(world.store.healths().await.unwrap(), [well]);
    let history = world.store.connection_history("example", "default", None, 10).await.unwrap();
    let told: Vec<_> = history.iter().map(|span| (span.n, span.code.as_str(), span.tests)).collect();
    assert_eq!(told, [(4, "ok", 1), (3, "auth", 2), (2, "network", 1), (1, "ok", 1)]);
    assert!(history[1].since < history[1].last_at);
    let page = world.store.connection_history("example", "default", Some(3), 1).await.unwrap();
    assert_eq!(page[0].n, 2);
}

async fn values_that_were_insisted_on_are_unverified_until_a_test_passes(world: World) {
    let put = async |code, saved| world.store.put_tested(tested(code, None, saved)).await.unwrap().unwrap().1.insisted;
    assert!(put("auth", Saved::OnInsistence).await);
    assert!(put("network", Saved::Before).await, "another failure verifies nothing");
    assert!(!put("ok", Saved::Before).await);
    assert!(!put("auth", Saved::Before).await, "that one fails by now");
    put("auth", Saved::OnInsistence).await;
    assert!(!put("not_configured", Saved::Now).await, "there is nothing left that could be verified");
}

async fn the_history_of_a_connection_ends_somewhere(world: World) {
    for n in 0..130 {
        world.store.put_tested(tested(["ok", "auth"][n % 2], None, Saved::Before)).await.unwrap();
    }
    let history = world.store.connection_history("example", "default", None, 1000).await.unwrap();
    assert_eq!((history.len(), history[0].n, history[99].n), (100, 130, 31));
    world.store.put_settings("example", "default", vec![("name".to_owned(), Some("x".to_owned()))]).await.unwrap();
    world.store.forget_connection("example", "other").await.unwrap();
    assert_eq!(world.store.healths().await.unwrap().len(), 1);
    world.store.forget_connection("example", "default").await.unwrap();
    assert!(world.store.connection_history("example", "default", None, 9).await.unwrap().is_empty());
    assert!(world.store.settings().await.unwrap().is_empty() && world.store.healths().await.unwrap().is_empty());
}

async fn a_test_that_ends_after_its_connection_does_not_bring_it_back(world: World) {
    let of_work = |saved| Tested { connection: "work".into(), ..tested("ok", None, saved) };
    assert_eq!(world.store.put_tested(of_work(Saved::Before)).await.unwrap(), None);
    assert!(world.store.healths().await.unwrap().is_empty());
    world.store.put_settings("example", "work", vec![("name".to_owned(), Some("x".to_owned()))]).await.unwrap();
    assert!(world.store.put_tested(of_work(Saved::Before)).await.unwrap().is_some());
    world.store.forget_connection("example", "work").await.unwrap();
    assert_eq!(world.store.put_tested(of_work(Saved::Before)).await.unwrap(), None);
    // One that has no values but those that its integration says is there because somebody saved it.
    assert!(world.store.put_tested(of_work(Saved::Now)).await.unwrap().is_some());
    assert!(world.store.put_tested(of_work(Saved::Before)).await.unwrap().is_some());
}

async fn an_earlier_value_is_forgotten_when_its_time_is_over(world: World) {
    let new = |value: &str, until: i64| NewSetting {
        key: "secret".into(),
        value: Some(value.into()),
        earlier: Some(("the one before".into(), until)),
    };
    let rows = async || world.store.settings().await.unwrap().remove(0);
    world.store.put_settings("example", "default", vec![new("a", i64::MAX)]).await.unwrap();
    assert_eq!(world.store.forget_earlier().await.unwrap(), 0);
    assert_eq!(rows().await.sealed_earlier.as_deref(), Some("the one before"));
    world.store.put_settings("example", "default", vec![new("b", 1)]).await.unwrap();
    assert_eq!(world.store.forget_earlier().await.unwrap(), 1);
    assert_eq!((rows().await.value.as_str(), rows().await.sealed_earlier), ("b", None));
    world.store.put_settings("example", "default", vec![new("c", i64::MAX)]).await.unwrap();
    world.store.put_settings("example", "default", vec![("secret".to_owned(), Some("d".to_owned()))]).await.unwrap();
    assert_eq!(rows().await.sealed_earlier, None, "a value without an overlap has none before it");
}

async fn values_are_put_over_what_is_expected_and_over_nothing_else(world: World) {
    let put = async |expected: &str, value: &str| {
        let values = vec![("a".to_owned(), Some(value.to_owned())), ("b".to_owned(), Some(value.to_owned()))];
        world.store.put_settings_if("example", "work", ("a", expected), values).await.unwrap()
    };
    let there = async |key: &str| world.store.setting("example", "work", key).await.unwrap();
    assert!(!put("one", "two").await, "there is none");
    assert_eq!(there("b").await, None);
    world.store.put_settings("example", "work", vec![("a".to_owned(), Some("one".to_owned()))]).await.unwrap();
    assert!(put("one", "two").await && !put("one", "three").await);
    assert_eq!((there("a").await.as_deref(), there("b").await.as_deref()), (Some("two"), Some("two")));
}

on_both_engines!(
    tests_of_a_connection_say_since_when_it_fails_and_how_often,
    values_that_were_insisted_on_are_unverified_until_a_test_passes,
    the_history_of_a_connection_ends_somewhere,
    a_test_that_ends_after_its_connection_does_not_bring_it_back,
    an_earlier_value_is_forgotten_when_its_time_is_over,
    values_are_put_over_what_is_expected_and_over_nothing_else,
);
