//! Model providers, and what is spent without a task.

use crate::world::World;
use futures::future::join_all;
use tercel_store::Provider;

fn provider(id: &str, sealed: Option<&str>) -> Provider {
    Provider {
        id: id.into(),
        kind: "openai".into(),
        base_url: "https://models.example/v1".into(),
        sealed_api_key: sealed.map(str::to_owned),
        models: r#"["m"]"#.into(),
        defaults: "{}".into(),
        updated_at: 0,
    }
}

async fn a_provider_is_made_replaced_and_removed(world: World) {
    world.store.put_provider(provider("b", None)).await.unwrap();
    world.store.put_provider(provider("a", Some("sealed:1"))).await.unwrap();
    world.store.put_provider(provider("b", Some("sealed:2"))).await.unwrap();
    let mut stored = world.store.providers().await.unwrap();
    assert!(stored.iter().all(|row| row.updated_at > 0));
    stored.iter_mut().for_each(|row| row.updated_at = 0);
    assert_eq!(stored, [provider("a", Some("sealed:1")), provider("b", Some("sealed:2"))]);
    assert!(world.store.delete_provider("a").await.unwrap());
    assert!(!world.store.delete_provider("a").await.unwrap());
    assert_eq!(world.store.providers().await.unwrap().len(), 1);
}

async fn what_is_spent_adds_up_in_every_scope(world: World) {
    let scopes = |bucket| vec![("server".to_owned(), bucket), ("bot:b".to_owned(), bucket)];
    let spent = join_all((0..9).map(|_| world.store.spend(scopes(1), 1, 10))).await;
    assert!(spent.iter().all(Result::is_ok));
    world.store.spend(scopes(2), 0, 5).await.unwrap();
    world.store.spend(Vec::new(), 1, 1).await.unwrap();
    assert_eq!(world.store.usage("server", 1).await.unwrap(), (9, 90));
    assert_eq!(world.store.usage("bot:b", 2).await.unwrap(), (0, 5));
}

on_both_engines!(a_provider_is_made_replaced_and_removed, what_is_spent_adds_up_in_every_scope);
