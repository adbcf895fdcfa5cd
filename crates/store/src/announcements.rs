//! Messages to people about notices. Many at once become one.

use crate::{
    NewOutbox, Result,
    engine::{Connection, list},
};
use uuid::Uuid;

/// Messages of their own in a minute; what comes after them is gathered.
const MOST: i64 = 10;
const MINUTE: i64 = 60_000_000;
/// A notice that was over so soon is not said to be over.
pub(crate) const BRIEF: i64 = MINUTE;

/// How people are told.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The row of the outbox, with the text about a new notice.
    pub row: NewOutbox,
    /// Characters that one message may have.
    pub most: usize,
}

/// Puts a text on its way, or its short form at the end of the message that leaves when the minute is over.
pub(crate) async fn say(
    by: &Announcement,
    text: &str,
    short: &str,
    connection: &mut Connection,
    time: i64,
) -> Result<()> {
    connection.run("DELETE FROM announcements WHERE at < $1", list![time - 10 * MINUTE]).await?;
    let (recent,): (i64,) = connection
        .first("SELECT COUNT(*) FROM announcements WHERE at > $1", list![time - MINUTE])
        .await?
        .unwrap_or_default();
    if recent < MOST {
        return put(by, text, time, connection, time).await.map(drop);
    }
    let line = format!("\n- {}", short.replace('\n', " "));
    let sql = "UPDATE outbox SET text = CASE WHEN LENGTH(text) < $2 THEN text || $3 ELSE text END WHERE id = \
               (SELECT o.id FROM announcements a CROSS JOIN outbox o WHERE a.at > $4 AND o.id = a.outbox_id \
               AND o.target = $5 AND o.state = 'pending' AND o.attempts = 0 AND o.next_at > $1 LIMIT 1)";
    let room = by.most.saturating_sub(line.chars().count()) as i64;
    let args = list![time, room, &line, time - 2 * MINUTE, &by.row.target];
    if connection.run(sql, args).await? == 0 {
        let text = format!("More notices within a minute; GET /api/v1/notices?open=true has all of them:{line}");
        put(by, &text, time + MINUTE, connection, time).await?;
    }
    Ok(())
}

async fn put(by: &Announcement, text: &str, at: i64, connection: &mut Connection, time: i64) -> Result<Uuid> {
    let text: String = text.chars().take(by.most).collect();
    let row = NewOutbox { id: Uuid::now_v7(), text, ..by.row.clone() };
    crate::outbox::insert_all(&[&row], connection, time).await?;
    if at > time {
        connection.run("UPDATE outbox SET next_at = $2 WHERE id = $1", list![row.id, at]).await?;
    }
    connection.run("INSERT INTO announcements (at, outbox_id) VALUES ($1, $2)", list![time, row.id]).await?;
    Ok(row.id)
}
