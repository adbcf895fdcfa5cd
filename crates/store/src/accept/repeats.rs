//! What was there before: each key leads to what came first with it.

use super::Accept;
use crate::{
    Result,
    engine::{Arg, Connection, list},
};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// For each accept, what came before it with one of its keys. Its own keys are taken if nothing did.
pub(super) async fn first_of_each(
    group: &[&Accept],
    connection: &mut Connection,
    time: i64,
) -> Result<Vec<Option<Uuid>>> {
    let (first, owners) = trace(group, &HashMap::new());
    if owners.is_empty() {
        return Ok(first);
    }
    let rows = owners.iter().map(|(key, (subject, expires))| list![*key, *subject, *expires]).collect();
    let taken = connection
        .run_rows_then(
            "INSERT INTO dedupe (key, subject, expires_at) VALUES",
            rows,
            " ON CONFLICT (key) DO UPDATE SET subject = excluded.subject, expires_at = excluded.expires_at \
             WHERE dedupe.expires_at <= ?",
            &[Arg::from(time)],
        )
        .await?;
    if taken == owners.len() as u64 {
        return Ok(first);
    }
    let rows = owners.keys().map(|key| list![*key]).collect();
    let mut known: HashMap<String, Uuid> = connection
        .all_rows("SELECT key, subject FROM dedupe WHERE key IN (VALUES", rows, ")")
        .await?
        .into_iter()
        .collect();
    known.retain(|key, subject| *subject != owners[key.as_str()].0);
    let (first, corrected) = trace(group, &known);
    // The new keys of what turned out to be a repetition lead to the original, too.
    let moved = corrected.iter().filter(|(key, owner)| owners[*key].0 != owner.0);
    connection
        .run_rows(
            "UPDATE dedupe SET subject = v.column2 FROM (VALUES",
            moved.map(|(key, (subject, _))| list![*key, *subject]).collect(),
            ") AS v WHERE dedupe.key = v.column1",
        )
        .await?;
    Ok(first)
}

/// A key, what it leads to and how long it does.
type Owners<'a> = BTreeMap<&'a str, (Uuid, i64)>;

/// For each accept, what it repeats, given the keys that are known; and what each other key leads to.
fn trace<'a>(group: &[&'a Accept], known: &HashMap<String, Uuid>) -> (Vec<Option<Uuid>>, Owners<'a>) {
    let mut owners = Owners::new();
    let mut first = Vec::with_capacity(group.len());
    for accept in group {
        let original = accept
            .dedupe
            .iter()
            .find_map(|(key, _)| known.get(key).copied().or_else(|| Some(owners.get(key.as_str())?.0)));
        for (key, expires) in accept.dedupe.iter().filter(|(key, _)| !known.contains_key(key)) {
            owners.entry(key).or_insert((original.unwrap_or_else(|| accept.subject()), *expires));
        }
        first.push(original);
    }
    (first, owners)
}
