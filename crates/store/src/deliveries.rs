//! Webhook requests that were taken.

use crate::{
    Error, NewDelivery, Result, Store,
    engine::{Connection, list, record},
    writer::Write,
};
use flate2::{Compress, Compression, FlushCompress, Status, read::DeflateDecoder};
use std::{cell::RefCell, io::Read};
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: Uuid,
    pub integration: String,
    pub connection: String,
    pub event: String,
    pub state: String,
    pub outcome: Option<String>,
    pub reason: Option<String>,
    pub verified_by: String,
    /// JSON object.
    pub headers: String,
    pub body: Option<Vec<u8>>,
    pub answer: Option<String>,
    /// Of one that code in a folder answers: method, address and headers.
    pub sealed_request: Option<String>,
    pub generation: i64,
    pub received_at: i64,
}

record!(Delivery { id, integration, connection, event, state, outcome, reason, verified_by, headers, answer, sealed_request, generation, received_at }, |_row| { body: None });

const COLUMNS: &str = "id, integration, connection, event, state, outcome, reason, verified_by, headers, answer, sealed_request, generation, received_at";

/// What became of the run that a delivery asked for.
pub(crate) enum Run {
    NotAsked,
    Made,
    /// By that ceiling.
    Refused(String),
    /// One that was like it was run a short while ago.
    Cools,
    /// By that delivery, which came first.
    Repeated(Uuid),
}

pub(crate) async fn insert_all(
    deliveries: &[(&NewDelivery, Run)],
    connection: &mut Connection,
    time: i64,
) -> Result<()> {
    let rows = deliveries
        .iter()
        .map(|(delivery, run)| {
            let is_open = delivery.sealed_request.is_some() && !matches!(run, Run::Repeated(_));
            let (outcome, reason, body) = match run {
                Run::Repeated(original) => ("duplicate", Some(format!("It repeats {original}")), None),
                Run::Refused(ceiling) if delivery.outcome == "run" => {
                    ("stored", Some(format!("The ceiling of `{ceiling}` was reached")), Some(delivery.body.clone()))
                }
                Run::Cools if delivery.outcome == "run" => {
                    let reason = "One like it was run a short while ago";
                    ("stored", Some(reason.to_owned()), Some(delivery.body.clone()))
                }
                Run::NotAsked if delivery.outcome == "run" => {
                    ("stored", delivery.reason.clone(), Some(delivery.body.clone()))
                }
                _ => (delivery.outcome, delivery.reason.clone(), Some(delivery.body.clone())),
            };
            list![
                delivery.id,
                &delivery.integration,
                &delivery.connection,
                &delivery.event,
                if is_open { "received" } else { "processed" },
                (!is_open).then_some(outcome),
                reason,
                &delivery.verified_by,
                &delivery.headers,
                body,
                &delivery.answer,
                delivery.sealed_request.as_ref().filter(|_| is_open).cloned(),
                1_i64,
                time,
            ]
        })
        .collect();
    connection
        .run_rows(
            "INSERT INTO deliveries (id, integration, connection, event, state, outcome, reason, verified_by, headers, body, \
             answer, sealed_request, generation, received_at) VALUES",
            rows,
            "",
        )
        .await
}

/// What is deflated: below it a page is saved at most, and the time is not worth that.
const LARGE: usize = 4096;
/// The first byte says how the rest is to be read.
const PLAIN: u8 = 0;
const DEFLATED: u8 = 1;

thread_local! {
    // Making one anew costs more than deflating a usual body with it.
    static DEFLATER: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// Done by the caller: the writer has enough to do.
pub(crate) fn pack(body: &[u8]) -> Vec<u8> {
    if body.len() >= LARGE {
        let packed = DEFLATER.with_borrow_mut(|deflater| {
            deflater.reset();
            let mut packed = Vec::with_capacity(body.len());
            packed.push(DEFLATED);
            // When it would not become smaller it does not fit, and stays as it is.
            let done = deflater.compress_vec(body, &mut packed, FlushCompress::Finish);
            matches!(done, Ok(Status::StreamEnd)).then_some(packed)
        });
        if let Some(mut packed) = packed {
            packed.shrink_to_fit();
            return packed;
        }
    }
    [&[PLAIN], body].concat()
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    match packed.split_first() {
        Some((&PLAIN, rest)) => body.extend_from_slice(rest),
        Some((&DEFLATED, rest)) => {
            DeflateDecoder::new(rest).read_to_end(&mut body).map_err(sqlx::Error::Io)?;
        }
        _ => {
            return Err(Error::Conflict(
                "The body of the delivery is stored in a way this version does not know".into(),
            ));
        }
    }
    Ok(body)
}

/// Raises the generation of a delivery: an operator wants it processed again.
#[derive(Debug, Clone)]
struct Replay {
    id: Uuid,
}

impl Write for Replay {
    type Answer = i64;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<i64>>> {
        let mut answers = Vec::new();
        for replay in group {
            let sql = "UPDATE deliveries SET generation = generation + 1 WHERE id = $1 RETURNING generation";
            let row: Option<(i64,)> = connection.first(sql, list![replay.id]).await?;
            answers
                .push(row.map(|(n,)| n).ok_or_else(|| Error::NotFound(format!("There is no delivery {}", replay.id))));
        }
        Ok(answers)
    }
}

impl Store {
    /// Newest first, older than the delivery `after`.
    pub async fn deliveries(
        &self,
        integration: Option<&str>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Delivery>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM deliveries WHERE ($1 IS NULL OR integration = $1) AND ($2 IS NULL OR id < $2) \
             ORDER BY id DESC LIMIT $3"
        );
        self.engine.read(sql, list![integration, after, limit]).await
    }

    /// With its body.
    pub async fn delivery(&self, id: Uuid) -> Result<Option<Delivery>> {
        let sql = format!("SELECT {COLUMNS} FROM deliveries WHERE id = $1");
        let Some(mut delivery) = self.engine.read_first::<Delivery>(sql, list![id]).await? else { return Ok(None) };
        let body: Option<(Option<Vec<u8>>,)> =
            self.engine.read_first("SELECT body FROM deliveries WHERE id = $1", list![id]).await?;
        delivery.body = body.and_then(|(body,)| body).map(|packed| unpack(&packed)).transpose()?;
        Ok(Some(delivery))
    }

    /// The tasks that each of some deliveries started.
    pub async fn tasks_of_delivery(&self, id: Uuid) -> Result<Vec<Uuid>> {
        let rows: Vec<(Uuid,)> =
            self.engine.read("SELECT id FROM tasks WHERE delivery_id = $1 ORDER BY id", list![id]).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// Notes that a delivery is processed anew and answers its new generation.
    pub async fn replay(&self, id: Uuid) -> Result<i64> {
        self.writer.write(Replay { id }).await
    }
}
