//! Many events, few runs: those that are alike are answered together, or not at all for a while.

use super::Item;
use crate::{
    Action, Ceiling, Result,
    engine::{Connection, list},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// How the runs of events that are alike are made fewer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fewer {
    /// All that come with this key while the first waits are one run.
    pub merge: Option<Merge>,
    /// Once one was run, others with this key are stored and not run.
    pub cooldown: Option<Cooldown>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    pub key: String,
    /// How long the first waits, in microseconds.
    pub wait: i64,
    /// Messages of one run.
    pub most: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cooldown {
    pub key: String,
    /// In microseconds.
    pub pause: i64,
}

/// What becomes of the run that an item asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is made, as always, if no ceiling refuses it.
    Made,
    /// That run, which has not begun, answers this too.
    Joins(Uuid),
    /// That run, of one that was like it, was made a short while ago.
    Cools(Uuid),
}

/// The open keys: what each leads to, and until when.
type Known = HashMap<String, (Uuid, i64)>;

/// The same for the keys that runs of a group want to take.
pub(super) type Taken = BTreeMap<String, (Uuid, i64)>;

/// For each item, what becomes of its run; and the keys of those that are made.
pub(super) async fn decide(items: &[&Item], connection: &mut Connection, time: i64) -> Result<(Vec<Verdict>, Taken)> {
    let fewer =
        |item: &&Item| item.task.as_ref().map(|task| task.fewer.clone()).filter(|fewer| *fewer != Fewer::default());
    let wanted: Vec<Option<Fewer>> = items.iter().map(fewer).collect();
    let keys: BTreeSet<&str> = wanted.iter().flatten().flat_map(Fewer::keys).collect();
    if keys.is_empty() {
        return Ok((vec![Verdict::Made; items.len()], Taken::new()));
    }
    let mut known = open(&keys, connection, time).await?;
    let mut sizes = sizes(&known, connection).await?;
    let mut taken = Taken::new();
    let mut verdicts = Vec::with_capacity(items.len());
    for (item, wanted) in items.iter().zip(&wanted) {
        let (Some(task), Some(fewer)) = (&item.task, wanted) else {
            verdicts.push(Verdict::Made);
            continue;
        };
        if let Some((run, _)) = fewer.cooldown.as_ref().and_then(|cooldown| known.get(&cooldown.key)) {
            verdicts.push(Verdict::Cools(*run));
            continue;
        }
        let joined = fewer.merge.as_ref().and_then(|merge| {
            let (first, _) = known.get(&merge.key)?;
            let size = sizes.get_mut(first).filter(|size| **size < i64::from(merge.most))?;
            *size += 1;
            Some(*first)
        });
        if let (Some(merge), None) = (&fewer.merge, joined) {
            let first = (task.id, time.saturating_add(merge.wait));
            known.insert(merge.key.clone(), first);
            taken.insert(merge.key.clone(), first);
            sizes.insert(task.id, 1);
        }
        if let Some(cooldown) = &fewer.cooldown {
            let last = (joined.unwrap_or(task.id), time.saturating_add(cooldown.pause));
            known.insert(cooldown.key.clone(), last);
            taken.insert(cooldown.key.clone(), last);
        }
        verdicts.push(joined.map_or(Verdict::Made, Verdict::Joins));
    }
    Ok((verdicts, taken))
}

/// Takes the keys of the runs that are made. One that a ceiling refuses takes none, and whom it would have answered or
/// kept waiting is refused as it is.
pub(super) async fn settle(
    items: &[&Item],
    verdicts: &mut [Verdict],
    full: &mut [Option<&Ceiling>],
    mut taken: Taken,
    connection: &mut Connection,
) -> Result<()> {
    if taken.is_empty() {
        return Ok(());
    }
    let refused: HashMap<Uuid, &Ceiling> = items
        .iter()
        .zip(full.iter())
        .filter_map(|(item, full)| {
            let ceiling = full.filter(|ceiling| ceiling.action != Action::Park)?;
            Some((item.task.as_ref()?.id, ceiling))
        })
        .collect();
    for (verdict, full) in verdicts.iter_mut().zip(full.iter_mut()) {
        if let Verdict::Joins(run) | Verdict::Cools(run) = *verdict
            && let Some(ceiling) = refused.get(&run)
        {
            (*verdict, *full) = (Verdict::Made, Some(*ceiling));
        }
    }
    taken.retain(|_, taken| !refused.contains_key(&taken.0));
    let rows = taken.iter().map(|(key, (run, until))| list![key, *run, *until]).collect();
    let after = " ON CONFLICT (key) DO UPDATE SET subject = excluded.subject, expires_at = excluded.expires_at";
    connection.run_rows("INSERT INTO dedupe (key, subject, expires_at) VALUES", rows, after).await
}

impl Fewer {
    fn keys(&self) -> impl Iterator<Item = &str> {
        let merge = self.merge.iter().map(|merge| merge.key.as_str());
        merge.chain(self.cooldown.iter().map(|cooldown| cooldown.key.as_str()))
    }

    /// How long its run waits for others.
    pub fn wait(&self) -> i64 {
        self.merge.as_ref().map_or(0, |merge| merge.wait)
    }
}

async fn open(keys: &BTreeSet<&str>, connection: &mut Connection, time: i64) -> Result<Known> {
    let rows = keys.iter().map(|key| list![*key]).collect();
    let found: Vec<(String, Uuid, i64)> =
        connection.all_rows("SELECT key, subject, expires_at FROM dedupe WHERE key IN (VALUES", rows, ")").await?;
    Ok(found.into_iter().filter(|(.., until)| *until > time).map(|(key, first, until)| (key, (first, until))).collect())
}

/// How many messages the runs have that can be joined: they have not begun, nobody has told them to stop, and their
/// session goes on.
async fn sizes(known: &Known, connection: &mut Connection) -> Result<HashMap<Uuid, i64>> {
    let runs: BTreeSet<Uuid> = known.values().map(|(run, _)| *run).collect();
    let rows: Vec<(Uuid, i64)> = connection
        .all_rows(
            "SELECT t.id, (SELECT COUNT(*) FROM messages m WHERE m.session_id = t.session_id AND m.seq >= t.seq \
             AND m.task_id = t.id) FROM tasks t WHERE t.status IN ('pending', 'waiting') AND t.attempt = 0 \
             AND NOT t.cancelled AND (SELECT s.active FROM sessions s WHERE s.id = t.session_id) AND t.id IN (VALUES",
            runs.iter().map(|run| list![*run]).collect(),
            ")",
        )
        .await?;
    Ok(rows.into_iter().collect())
}
