//! What operators say to rows: again, never, go on.

use super::{
    COLUMNS, OutboxRow, STUCK,
    leave::{Ended, hold_parts},
    queue::promote,
};
use crate::{
    Result,
    engine::{Connection, list},
    now,
    writer::{Bell, Write},
};
use uuid::Uuid;

/// What an operator does to rows.
pub(super) enum Order {
    /// Sends one again. `resolve`: it is looked for first.
    Retry {
        id: Uuid,
        resolve: bool,
    },
    Drop {
        id: Uuid,
    },
    /// Sends on what was parked for a dispatch type.
    Unpark {
        dispatch_type: String,
    },
}

impl Write for Order {
    type Answer = Vec<OutboxRow>;
    const WAKES: &'static [Bell] = &[Bell::Outbox];

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Vec<OutboxRow>>>> {
        let mut answers = Vec::new();
        for order in group {
            let time = now();
            let rows: Vec<OutboxRow> = match order {
                Self::Retry { id, resolve } => {
                    let sql = format!(
                        "UPDATE outbox SET state = 'pending', ready = FALSE, next_at = $2, unknown = (unknown AND $3), ended_at = NULL, \
                         expires_at = NULL WHERE id = $1 AND state IN ('held', 'parked', 'dead', 'expired', 'pending') \
                         RETURNING {COLUMNS}"
                    );
                    connection.all(sql, list![*id, time, *resolve]).await?
                }
                Self::Drop { id } => {
                    let sql = format!(
                        "UPDATE outbox SET state = 'dropped', ready = FALSE, ended_at = $2 \
                         WHERE id = $1 AND state IN ('held', 'parked', 'dead', 'expired', 'pending') RETURNING {COLUMNS}"
                    );
                    let dropped: Vec<OutboxRow> = connection.all(sql, list![*id, time]).await?;
                    for row in dropped.iter().filter(|row| row.part < row.parts) {
                        hold_parts(&Ended::from(row), connection).await?;
                    }
                    dropped
                }
                Self::Unpark { dispatch_type } => {
                    let sql = format!(
                        "UPDATE outbox SET state = 'pending', ready = FALSE, next_at = $2, ended_at = NULL \
                         WHERE dispatch_type = $1 AND state = 'parked' AND {STUCK} RETURNING {COLUMNS}"
                    );
                    connection.all(sql, list![dispatch_type, time]).await?
                }
            };
            promote(rows.iter().map(|row| row.target.clone()).collect(), connection).await?;
            answers.push(Ok(rows));
        }
        Ok(answers)
    }
}
