//! Taking something in: delivery, message and task become one commit. "Accepted means stored" is kept here.

mod fewer;
mod place;
mod repeats;

pub use fewer::{Cooldown, Fewer, Merge};

use crate::{
    Action, Ceiling, Error, NewOutbox, Result, Store,
    deliveries::{Run, insert_all as insert_deliveries},
    engine::{Arg, Connection, list},
    now,
    parked::{self, Digest},
    usage::{Asked, admit},
    writer::{Bell, Write},
};
use fewer::{Verdict, decide, settle};
use place::{Place, place};
use repeats::first_of_each;
use uuid::Uuid;

/// What shall be stored together, or not at all.
#[derive(Debug, Clone, Default)]
pub struct Accept {
    /// Absent for messages that come by the API.
    pub delivery: Option<NewDelivery>,
    /// A delivery that is stored already and is processed again.
    pub replayed: Option<Uuid>,
    /// Keys that make a repetition known, with the time until which they do.
    pub dedupe: Vec<(String, i64)>,
    pub items: Vec<Item>,
}

#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub id: Uuid,
    pub integration: String,
    pub connection: String,
    pub event: String,
    /// `run` becomes `stored` when a ceiling refuses every run of it.
    pub outcome: &'static str,
    pub reason: Option<String>,
    pub verified_by: String,
    /// JSON object.
    pub headers: String,
    pub body: Vec<u8>,
    /// What the sender was answered, for a repetition.
    pub answer: Option<String>,
    /// Method, address and headers, sealed: it is stored to be processed, and `outcome` counts for nothing yet.
    pub sealed_request: Option<String>,
}

/// One message, and the run it starts.
#[derive(Debug, Clone)]
pub struct Item {
    pub session: SessionRef,
    pub message: NewMessage,
    pub task: Option<NewTask>,
    /// Counted when there is a task; a full one says what becomes of it. The message is kept.
    pub ceilings: Vec<Ceiling>,
    pub busy: Busy,
    /// Show the message where its session's answers go and its channel is bound to. The session is filled in here.
    pub shown: Vec<NewOutbox>,
}

/// What a message does to a session that is busy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Busy {
    #[default]
    Enqueue,
    Reject,
    Interrupt,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionRef {
    Id(Uuid),
    /// Made if it is not there.
    Key {
        client_id: String,
        bot_id: String,
        thread: String,
        channel_id: Option<Uuid>,
    },
}

#[derive(Debug, Clone)]
pub struct NewMessage {
    pub id: Uuid,
    pub role: &'static str,
    pub content: String,
    pub source: Option<String>,
    pub trusted: bool,
    pub hops: u32,
    pub metadata: Option<String>,
    /// Files that were kept for it.
    pub attachments: Vec<Uuid>,
}

#[derive(Debug, Clone)]
pub struct NewTask {
    pub id: Uuid,
    pub bot_id: String,
    pub channel_id: Option<Uuid>,
    pub origin: String,
    pub execution_config: Option<String>,
    pub sealed_target: Option<String>,
    pub rehearse: bool,
    pub fewer: Fewer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    New(Vec<Placed>),
    /// The same was there before; this is the delivery, message or document that came first.
    Duplicate(Uuid),
}

/// Where an item went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    pub session_id: Uuid,
    pub message_id: Uuid,
    pub task_id: Option<Uuid>,
    /// The ceiling that kept the run from being made.
    pub refused: Option<String>,
    /// The ceiling that keeps the run from beginning, made or not.
    pub full: Option<Ceiling>,
    /// Runs that were told to stop in favour of this one.
    pub interrupted: Vec<Uuid>,
}

impl Store {
    /// # Errors
    /// `NotFound` for a session id that does not exist, `Conflict` for a busy session that shall not be disturbed.
    pub async fn accept(&self, mut accept: Accept) -> Result<Accepted> {
        if let Some(delivery) = &mut accept.delivery {
            delivery.body = crate::deliveries::pack(&delivery.body);
        }
        self.writer.write(accept).await
    }
}

impl Write for Accept {
    type Answer = Accepted;
    const WAKES: &'static [Bell] = &[Bell::Tasks, Bell::Outbox];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Accepted>>> {
        let mut answers = Vec::with_capacity(group.len());
        for part in group.chunk_by(|a, b| !a.minds_the_busy() && !b.minds_the_busy()) {
            if !part[0].minds_the_busy() {
                answers.extend(store_all(part, connection).await?);
                continue;
            }
            connection.savepoint().await?;
            match store_all(part, connection).await {
                Ok(stored) => {
                    connection.release().await?;
                    answers.extend(stored);
                }
                Err(error @ (Error::Conflict(_) | Error::NotFound(_))) => {
                    connection.undo().await?;
                    answers.push(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(answers)
    }
}

async fn store_all(group: &[&Accept], connection: &mut Connection) -> Result<Vec<Result<Accepted>>> {
    let time = now();
    let first = first_of_each(group, connection, time).await?;
    let fresh: Vec<usize> = (0..group.len()).filter(|&i| first[i].is_none()).collect();
    let items: Vec<&Item> = fresh.iter().flat_map(|&i| &group[i].items).collect();
    let (mut verdicts, taken) = decide(&items, connection, time).await?;
    let mut full = count_runs(&items, &verdicts, connection).await?;
    settle(&items, &mut verdicts, &mut full, taken, connection).await?;
    let mut interrupted = vec![Vec::new(); items.len()];
    for (i, item) in items.iter().enumerate() {
        interrupted[i] = make_way(item, full[i].is_some(), connection, time).await?;
    }
    let places = place(&items, &full, &verdicts, connection, time).await?;

    let mut deliveries = Vec::new();
    let mut messages = Vec::new();
    let mut tasks = Vec::new();
    let mut outbox = Vec::new();
    let mut attached = Vec::new();
    let mut waiting = Vec::new();
    let mut digests = Vec::new();
    let mut answers: Vec<Result<Accepted>> =
        first.iter().map(|first| Ok(first.map_or(Accepted::New(Vec::new()), Accepted::Duplicate))).collect();
    let mut placed = places.into_iter().zip(full).zip(interrupted).zip(verdicts).zip(&items);
    for (i, accept) in group.iter().enumerate() {
        if let Some(original) = first[i] {
            deliveries.extend(accept.delivery.as_ref().map(|delivery| (delivery, Run::Repeated(original))));
            continue;
        }
        let delivery_id = accept.delivery.as_ref().map(|delivery| delivery.id).or(accept.replayed);
        let mut rows = Vec::with_capacity(accept.items.len());
        let mut cools = false;
        for ((((place, full), interrupted), verdict), item) in placed.by_ref().take(accept.items.len()) {
            let task = item.task.as_ref().filter(|_| full.is_none_or(|ceiling| ceiling.action == Action::Park));
            let task = task.filter(|_| verdict == Verdict::Made);
            let joined = if let Verdict::Joins(run) = verdict { Some(run) } else { None };
            cools |= matches!(verdict, Verdict::Cools(_));
            let shown = item.shown.iter().cloned();
            outbox.extend(shown.map(|shown| NewOutbox { session_id: Some(place.session), ..shown }));
            attached.extend(item.message.attachments.iter().map(|id| (*id, item.message.id)));
            messages.push(message_row(item, &place, task.map(|task| task.id).or(joined), delivery_id, time));
            tasks.extend(task.map(|task| task_row(task, item, &place, delivery_id, time)));
            match (full, &item.task) {
                (Some(Ceiling { action: Action::Park, scope, .. }), Some(task)) => {
                    waiting.push((task.id, scope.as_str()))
                }
                (Some(Ceiling { action: Action::Digest, scope, .. }), Some(task)) => digests.push(Digest {
                    session: place.session,
                    message: item.message.id,
                    seq: place.seq,
                    task,
                    delivery: delivery_id,
                    trusted: item.message.trusted,
                    hops: item.message.hops,
                    scope,
                }),
                _ => {}
            }
            rows.push(Placed {
                session_id: place.session,
                message_id: item.message.id,
                task_id: task.map(|task| task.id).or(joined),
                refused: full.filter(|_| task.is_none()).map(|ceiling| ceiling.scope.clone()),
                full: full.cloned(),
                interrupted,
            });
        }
        let run = match rows.iter().find_map(|row| row.refused.clone()) {
            _ if rows.iter().any(|row| row.task_id.is_some()) => Run::Made,
            Some(ceiling) => Run::Refused(ceiling),
            None if cools => Run::Cools,
            None => Run::NotAsked,
        };
        deliveries.extend(accept.delivery.as_ref().map(|delivery| (delivery, run)));
        answers[i] = Ok(Accepted::New(rows));
    }
    insert_deliveries(&deliveries, connection, time).await?;
    crate::messages::insert_all(messages, connection).await?;
    crate::attachments::attach(attached, connection).await?;
    crate::tasks::insert_all(tasks, connection).await?;
    parked::park(&waiting, connection, time).await?;
    parked::gather(&digests, connection, time).await?;
    crate::outbox::insert_all(&outbox.iter().collect::<Vec<_>>(), connection, time).await?;
    Ok(answers)
}

impl Accept {
    /// Whether what it does depends on what came before it in the same group.
    fn minds_the_busy(&self) -> bool {
        self.items.iter().any(|item| item.busy != Busy::Enqueue)
    }

    fn subject(&self) -> Uuid {
        match (&self.delivery, self.items.first()) {
            (Some(delivery), _) => delivery.id,
            (None, Some(item)) => item.message.id,
            (None, None) => Uuid::nil(),
        }
    }
}

/// Counts the runs that are asked for; says for each item which ceiling refuses it.
async fn count_runs<'a>(
    items: &[&'a Item],
    verdicts: &[Verdict],
    connection: &mut Connection,
) -> Result<Vec<Option<&'a Ceiling>>> {
    let asking: Vec<bool> =
        items.iter().zip(verdicts).map(|(item, verdict)| item.task.is_some() && *verdict == Verdict::Made).collect();
    let asked: Vec<Asked> = items
        .iter()
        .zip(&asking)
        .filter(|(_, asks)| **asks)
        .map(|(item, _)| Asked { ceilings: &item.ceilings, is_counted: false })
        .collect();
    let mut answers = admit(&asked, connection).await?.into_iter();
    Ok(asking.into_iter().map(|asks| if asks { answers.next().flatten() } else { None }).collect())
}

/// Carries out what an item says about a busy session.
async fn make_way(item: &Item, refused: bool, connection: &mut Connection, time: i64) -> Result<Vec<Uuid>> {
    if item.busy == Busy::Enqueue {
        return Ok(Vec::new());
    }
    let hold = connection.dialect().hold();
    let session: Option<(Uuid, Option<Uuid>)> = match &item.session {
        SessionRef::Id(id) => {
            let sql = format!("SELECT t.id, t.head FROM sessions t WHERE t.id = $1{hold}");
            connection.first(sql, list![*id]).await?
        }
        SessionRef::Key { client_id, bot_id, thread, .. } => {
            let sql = format!(
                "SELECT t.id, t.head FROM sessions t WHERE t.client_id = $1 AND t.bot_id = $2 AND t.thread = $3 AND t.active{hold}"
            );
            connection.first(sql, list![client_id, bot_id, thread]).await?
        }
    };
    let Some((session, Some(head))) = session else { return Ok(Vec::new()) };
    if item.busy == Busy::Reject {
        return Err(Error::Conflict(format!("The session is busy with task {head}")));
    }
    if refused || item.task.is_none() {
        return Ok(Vec::new());
    }
    let mut stopped = Vec::new();
    // One statement for both could use no index. What waited for others does so no longer: it is in the way.
    for sql in [
        "UPDATE tasks SET cancelled = TRUE WHERE id = $1 AND status = 'running' AND session_id = $2 AND NOT cancelled RETURNING id",
        "UPDATE tasks SET cancelled = TRUE, run_at = $3 WHERE session_id = $2 AND status = 'pending' AND NOT cancelled RETURNING id",
    ] {
        stopped.extend(connection.all::<(Uuid,)>(sql, list![head, session, time]).await?.into_iter().map(|(id,)| id));
    }
    Ok(stopped)
}

fn message_row(item: &Item, place: &Place, task: Option<Uuid>, delivery: Option<Uuid>, time: i64) -> Vec<Arg> {
    let message = &item.message;
    list![
        message.id,
        place.session,
        place.seq,
        message.role,
        &message.content,
        &message.source,
        task,
        delivery,
        message.trusted,
        message.hops,
        &message.metadata,
        time,
    ]
}

fn task_row(task: &NewTask, item: &Item, place: &Place, delivery: Option<Uuid>, time: i64) -> Vec<Arg> {
    list![
        task.id,
        place.session,
        item.message.id,
        task.channel_id,
        delivery,
        &task.bot_id,
        &task.origin,
        place.seq,
        place.head == Some(task.id),
        &task.execution_config,
        &task.sealed_target,
        item.message.trusted,
        item.message.hops,
        task.rehearse,
        time.saturating_add(task.fewer.wait()),
        time,
    ]
}
