//! Sessions, settings, keys, notices and what else is only kept and given back.

use crate::world::{World, ask};
use futures::future::join_all;
use tercel_store::{ApiKey, Binding, Channel, Egress, Error, NewNotice, Uuid};

async fn a_session_is_got_or_made_and_a_reset_one_is_left_behind(world: World) {
    let open = |thread: &'static str, target: Option<&str>| {
        world.store.open_session("a", "default", thread, None, target.map(str::to_owned))
    };
    let opened = join_all((0..8).map(|_| open("", None))).await;
    let opened: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    assert_eq!(opened.iter().filter(|(_, created)| *created).count(), 1);
    let session = opened[0].0.clone();
    assert!(opened.iter().all(|(other, _)| other.id == session.id));
    assert_ne!(open("pr/1", None).await.unwrap().0.id, session.id);
    assert_eq!(open("", Some("{}")).await.unwrap().0.sealed_target.as_deref(), Some("{}"));
    assert_eq!(open("", None).await.unwrap().0.sealed_target.as_deref(), Some("{}"));
    assert_eq!(world.accept(ask("a")).await.session_id, session.id);
    world.store.reset_session(session.id).await.unwrap();
    let next = world.accept(ask("a")).await;
    assert_ne!(next.session_id, session.id);
    assert!(!world.store.session(session.id).await.unwrap().unwrap().active);
    assert_eq!(world.store.sessions(Some("a"), None, 9).await.unwrap().len(), 3);
    assert_eq!(world.store.sessions(Some("b"), None, 9).await.unwrap().len(), 0);
    assert!(matches!(world.store.reset_session(Uuid::nil()).await, Err(Error::NotFound(_))));
    world.is_consistent().await;
}

async fn a_notice_is_counted_while_it_is_open_and_new_when_it_was_closed(world: World) {
    let raise = |detail: &str| {
        world.store.raise(NewNotice {
            key: "connection:example".into(),
            severity: "error",
            title: "The connection fails".into(),
            detail: detail.into(),
            repair: None,
        })
    };
    raise("first").await.unwrap();
    raise("second").await.unwrap();
    let open = world.store.notices(Some(true), None, 9).await.unwrap();
    assert_eq!((open.len(), open[0].count, open[0].detail.as_str()), (1, 2, "second"));
    assert!(world.store.close_notice("connection:example").await.unwrap());
    assert!(!world.store.close_notice("connection:example").await.unwrap());
    raise("third").await.unwrap();
    let open = world.store.notices(Some(true), None, 9).await.unwrap();
    assert_eq!((open.len(), open[0].count), (1, 1));
    assert!(world.store.dismiss_notice(open[0].id).await.unwrap());
    assert!(!world.store.dismiss_notice(open[0].id).await.unwrap());
    assert_eq!(world.store.notices(Some(true), None, 9).await.unwrap().len(), 0);
    assert_eq!(world.store.notices(None, None, 9).await.unwrap().len(), 2);
}

async fn settings_are_set_replaced_and_removed_together(world: World) {
    let put = |values: &[(&str, Option<&str>)]| {
        let values = values.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect();
        world.store.put_settings("example", "default", values)
    };
    put(&[("token", Some("1")), ("url", Some("u"))]).await.unwrap();
    put(&[("token", Some("2")), ("url", None)]).await.unwrap();
    let settings = world.store.settings().await.unwrap();
    assert_eq!(settings.iter().map(|s| (s.key.as_str(), s.value.as_str())).collect::<Vec<_>>(), [("token", "2")]);
}

async fn a_key_is_kept_until_it_is_revoked_and_a_second_with_its_hash_fails_alone(world: World) {
    let key = |hash: u8| ApiKey {
        id: Uuid::now_v7(),
        name: "ci".into(),
        hash: vec![hash; 32],
        prefix: "tk_1".into(),
        scopes: "chat tasks:read".into(),
        created_at: 0,
        revoked_at: None,
    };
    let first = key(1);
    let made = join_all([first.clone(), key(1), key(2)].map(|key| world.store.create_key(key))).await;
    assert_eq!(made.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    world.store.revoke_key(first.id).await.unwrap();
    assert!(matches!(world.store.revoke_key(Uuid::nil()).await, Err(Error::NotFound(_))));
    let keys = world.store.keys().await.unwrap();
    assert_eq!(
        keys.iter().map(|key| (key.hash[0], key.revoked_at.is_some())).collect::<Vec<_>>(),
        [(2, false), (1, true)]
    );
}

async fn what_went_out_for_a_task_is_listed(world: World) {
    let task = Uuid::now_v7();
    let egress = |at| Egress {
        at,
        integration: Some("example".into()),
        connection: None,
        task_id: Some(task),
        method: "GET".into(),
        host: "api.example.com".into(),
        path: "/".into(),
        status: Some(200),
        error: None,
        sent_bytes: 1,
        received_bytes: 2,
        duration_ms: 3,
    };
    assert!(world.store.note_egress(egress(2)) && world.store.note_egress(egress(1)));
    // A write that is waited for comes after those that were left before it.
    world.store.put_bot("b", "{}".into()).await.unwrap();
    let listed = world.store.egress_of(task).await.unwrap();
    assert_eq!(listed.iter().map(|e| e.at).collect::<Vec<_>>(), [1, 2]);
}

async fn channels_and_their_bindings_are_kept_and_go_together(world: World) {
    let channel = Channel {
        id: Uuid::now_v7(),
        client_id: "example:a".into(),
        bot_id: "default".into(),
        display_name: None,
        options: "{}".into(),
        sealed_target: None,
        created_at: 0,
    };
    let binding = Binding {
        id: Uuid::now_v7(),
        channel_id: channel.id,
        client_id: "other:b".into(),
        display_name: None,
        event_filter: None,
        sealed_target: None,
        created_at: 0,
    };
    world.store.create_channel(channel.clone()).await.unwrap();
    let twin = Channel { id: Uuid::now_v7(), ..channel.clone() };
    let taken = world.store.create_channel(twin.clone()).await.unwrap_err().to_string();
    assert_eq!(taken, "There is a channel `example:a` already");
    assert!(matches!(world.store.update_channel(twin).await, Err(Error::NotFound(_))));
    world.store.update_channel(Channel { bot_id: "other".into(), ..channel.clone() }).await.unwrap();
    assert_eq!(world.store.channels().await.unwrap()[0].bot_id, "other");
    world.store.bind(binding.clone()).await.unwrap();
    assert!(matches!(
        world.store.bind(Binding { id: Uuid::now_v7(), ..binding.clone() }).await,
        Err(Error::Conflict(_))
    ));
    world.store.unbind(channel.id, binding.id).await.unwrap();
    assert!(matches!(world.store.unbind(channel.id, binding.id).await, Err(Error::NotFound(_))));
    world.store.bind(binding).await.unwrap();
    world.store.delete_channel(channel.id).await.unwrap();
    assert_eq!(world.store.bindings().await.unwrap().len(), 0);
    world.is_consistent().await;
}

async fn bots_are_replaced(world: World) {
    world.store.put_bot("default", "{}".into()).await.unwrap();
    world.store.put_bot("default", "{\"model\":\"m\"}".into()).await.unwrap();
    assert_eq!(world.store.bots().await.unwrap()[0].definition, "{\"model\":\"m\"}");
    assert!(world.store.delete_bot("default").await.unwrap());
    assert!(!world.store.delete_bot("default").await.unwrap());
}

on_both_engines!(
    a_session_is_got_or_made_and_a_reset_one_is_left_behind,
    a_notice_is_counted_while_it_is_open_and_new_when_it_was_closed,
    settings_are_set_replaced_and_removed_together,
    a_key_is_kept_until_it_is_revoked_and_a_second_with_its_hash_fails_alone,
    what_went_out_for_a_task_is_listed,
    channels_and_their_bindings_are_kept_and_go_together,
    bots_are_replaced,
);
