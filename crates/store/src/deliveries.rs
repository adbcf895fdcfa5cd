//! Webhook requests that were taken.

use crate::{
    Error, NewDelivery, Result, Store,
    engine::{Connection, list, record},
    writer::Write,
};
use flate2::read::DeflateDecoder;
use lz4_flex::block;
use std::io::Read;
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

/// What is compressed: below it a page is saved at most, and the time is not worth that.
const LARGE: usize = 4096;
/// The first byte says how the rest is to be read.
const PLAIN: u8 = 0;
/// Only what was stored before there was [`LZ4`].
const DEFLATED: u8 = 1;
/// The size in four bytes, least first, and one LZ4 block.
const LZ4: u8 = 2;
/// No block of LZ4 becomes more than this many times as large.
const LZ4_RATIO: usize = 255;

/// Done by the caller: the writer has enough to do.
pub(crate) fn pack(body: &[u8]) -> Vec<u8> {
    if body.len() >= LARGE {
        let packed = block::compress_prepend_size(body);
        if packed.len() < body.len() {
            return [&[LZ4], &packed[..]].concat();
        }
    }
    [&[PLAIN], body].concat()
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>> {
    let unreadable = |why: &str| Error::Conflict(format!("The body of the delivery is stored in a way {why}"));
    match packed.split_first() {
        Some((&PLAIN, rest)) => Ok(rest.into()),
        Some((&LZ4, rest)) => {
            let damaged = || unreadable("that cannot be read: it is damaged");
            let (size, block) = block::uncompressed_size(rest).map_err(|_| damaged())?;
            if size > block.len().saturating_mul(LZ4_RATIO) {
                return Err(damaged());
            }
            block::decompress(block, size).map_err(|_| damaged())
        }
        Some((&DEFLATED, rest)) => {
            let mut body = Vec::new();
            DeflateDecoder::new(rest).read_to_end(&mut body).map_err(sqlx::Error::Io)?;
            Ok(body)
        }
        _ => Err(unreadable("this version does not know")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::DeflateEncoder};
    use std::io::Write as _;

    #[test]
    fn bodies_come_back_as_they_were() {
        let noise: Vec<u8> = (0..9000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for body in [&b""[..], b"{}", &[b'a'; LARGE - 1], &[b'a'; LARGE], &[b'a'; 3 << 20], &noise] {
            let packed = pack(body);
            assert!(packed.len() <= body.len() + 1);
            assert!(unpack(&packed).unwrap() == body, "{} bytes", body.len());
        }
        assert!(pack(&[b'a'; LARGE]).len() < 100);
    }

    #[test]
    fn what_earlier_versions_deflated_is_read() {
        let mut deflater = DeflateEncoder::new(vec![DEFLATED], Compression::fast());
        deflater.write_all(b"{\"zen\": 1}").unwrap();
        assert_eq!(unpack(&deflater.finish().unwrap()).unwrap(), b"{\"zen\": 1}");
    }

    #[test]
    fn what_is_damaged_is_an_error_and_takes_no_memory() {
        let whole = pack(&[b'a'; LARGE]);
        let vast = [&[LZ4], &u32::MAX.to_le_bytes()[..], b"\x10a"].concat();
        for damaged in [&[][..], &[9], &[LZ4], &[LZ4, 1, 0], &whole[..whole.len() / 2], &vast] {
            assert!(unpack(damaged).is_err(), "{damaged:?}");
        }
    }
}
