//! Where messages go: sessions are made or found, and each message gets its number.

use super::{Item, SessionRef, Verdict};
use crate::{
    Ceiling, Error, Result,
    engine::{Connection, list, record},
};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// The session and the number that an item's message gets there.
pub(super) struct Place {
    pub session: Uuid,
    pub seq: i64,
    pub head: Option<Uuid>,
}

struct SessionRow {
    id: Uuid,
    client_id: String,
    bot_id: String,
    thread: String,
    seq: i64,
    head: Option<Uuid>,
}

record!(SessionRow { id, client_id, bot_id, thread, seq, head });

/// Id, or client, bot and thread.
type Key<'a> = (Option<Uuid>, &'a str, &'a str, &'a str);

/// What a group brings to one session.
#[derive(Default)]
struct Wanted {
    messages: i64,
    /// The task that becomes its head if it has none.
    head: Option<Uuid>,
    channel: Option<Uuid>,
}

pub(super) async fn place(
    items: &[&Item],
    full: &[Option<&Ceiling>],
    verdicts: &[Verdict],
    connection: &mut Connection,
    time: i64,
) -> Result<Vec<Place>> {
    let mut wanted: BTreeMap<Key, Wanted> = BTreeMap::new();
    for ((item, full), verdict) in items.iter().zip(full).zip(verdicts) {
        let entry = wanted.entry(key_of(&item.session)).or_default();
        entry.messages += 1;
        if let (Some(task), None, None, Verdict::Made) = (&item.task, full, entry.head, verdict) {
            entry.head = Some(task.id);
        }
        if let SessionRef::Key { channel_id: Some(channel), .. } = &item.session {
            entry.channel = Some(*channel);
        }
    }
    let mut by_key = Vec::new();
    let mut sessions: Vec<SessionRow> = Vec::new();
    for ((id, client_id, bot_id, thread), Wanted { messages, head, channel }) in &wanted {
        match id {
            None => by_key.push(list![
                Uuid::now_v7(),
                *client_id,
                *bot_id,
                *thread,
                *channel,
                *messages,
                *head,
                true,
                time,
                time
            ]),
            Some(id) => {
                let updated = connection
                    .first(
                        "UPDATE sessions SET seq = seq + $2, head = COALESCE(head, $3), last_at = $4 WHERE id = $1 \
                         RETURNING id, client_id, bot_id, thread, seq, head",
                        list![*id, *messages, *head, time],
                    )
                    .await?;
                sessions.push(updated.ok_or_else(|| Error::NotFound(format!("There is no session {id}")))?);
            }
        }
    }
    let ids: HashMap<Uuid, usize> = sessions.iter().enumerate().map(|(i, session)| (session.id, i)).collect();
    let named = sessions.len();
    sessions.extend(
        connection
            .all_rows::<SessionRow>(
                "INSERT INTO sessions (id, client_id, bot_id, thread, channel_id, seq, head, active, created_at, last_at) VALUES",
                by_key,
                " ON CONFLICT (client_id, bot_id, thread) WHERE active DO UPDATE SET seq = sessions.seq + excluded.seq, \
                 head = COALESCE(sessions.head, excluded.head), last_at = excluded.last_at, \
                 channel_id = COALESCE(excluded.channel_id, sessions.channel_id) \
                 RETURNING id, client_id, bot_id, thread, seq, head",
            )
            .await?,
    );
    let keys: HashMap<(&str, &str, &str), usize> = sessions
        .iter()
        .enumerate()
        .skip(named)
        .map(|(i, s)| ((s.client_id.as_str(), s.bot_id.as_str(), s.thread.as_str()), i))
        .collect();
    let mut given: HashMap<usize, i64> = HashMap::new();
    Ok(items
        .iter()
        .map(|item| {
            let key = key_of(&item.session);
            let at = match key.0 {
                Some(id) => ids[&id],
                None => keys[&(key.1, key.2, key.3)],
            };
            let count = wanted[&key].messages;
            let nth = given.entry(at).and_modify(|n| *n += 1).or_insert(1);
            Place { session: sessions[at].id, seq: sessions[at].seq - count + *nth, head: sessions[at].head }
        })
        .collect())
}

fn key_of(session: &SessionRef) -> Key<'_> {
    match session {
        SessionRef::Id(id) => (Some(*id), "", "", ""),
        SessionRef::Key { client_id, bot_id, thread, .. } => (None, client_id, bot_id, thread),
    }
}
