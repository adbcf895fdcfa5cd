//! What was spent, by scope and hour, and the ceilings that are counted on it.

use crate::{
    Result, Store,
    engine::{Arg, Connection, Record, list, record},
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What one scope spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub runs: i64,
    /// Of models.
    pub calls: i64,
    pub prompt_tokens: i64,
    pub completion_tokens: i64,
    /// Of the prompts: found in the provider's cache, put there.
    pub cached_tokens: i64,
    pub cache_written_tokens: i64,
    /// Millionths of a dollar.
    pub cost: i64,
}

record!(Counts { runs, calls, prompt_tokens, completion_tokens, cached_tokens, cache_written_tokens, cost });

impl Counts {
    pub fn tokens(&self) -> i64 {
        self.prompt_tokens + self.completion_tokens
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.runs += other.runs;
        self.calls += other.calls;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.cached_tokens += other.cached_tokens;
        self.cache_written_tokens += other.cache_written_tokens;
        self.cost += other.cost;
    }
}

/// What is added to a counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    pub scope: String,
    /// Hours since 1970.
    pub hour: i64,
    pub counts: Counts,
}

/// What happens to a message whose run a ceiling refuses. The later ones keep more of the money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// The run waits.
    Park,
    /// The message waits for one run that answers it together with others.
    Digest,
    /// The message is kept and not answered.
    Store,
}

/// A counter of a run, with its limits if it has any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ceiling {
    pub scope: String,
    /// The first hour of the window, and the present one, which is counted on.
    pub since: i64,
    pub hour: i64,
    pub runs: Option<i64>,
    pub tokens: Option<i64>,
    /// Millionths of a dollar.
    pub cost: Option<i64>,
    pub action: Action,
}

impl Ceiling {
    /// Lets nothing through: what comes waits.
    pub fn closed(scope: String, hour: i64) -> Self {
        Self { scope, since: hour, hour, runs: Some(0), tokens: Some(0), cost: None, action: Action::Park }
    }

    /// Whether what was spent leaves no room for another run, or, for one that is counted already, to go on.
    pub fn is_full(&self, spent: &Counts, is_counted: bool) -> bool {
        let reached = |limit: Option<i64>, spent: i64| limit.is_some_and(|limit| spent >= limit);
        !is_counted && reached(self.runs, spent.runs)
            || reached(self.tokens, spent.tokens())
            || reached(self.cost, spent.cost)
    }

    fn counter(&self) -> Counter<'_> {
        (&self.scope, self.hour)
    }
}

/// A scope and an hour.
type Counter<'a> = (&'a str, i64);

pub(crate) const INTO: &str = "INSERT INTO usage (scope, hour, runs, calls, prompt_tokens, completion_tokens, cached_tokens, \
                               cache_written_tokens, cost)";

pub(crate) const ADDED: &str = " ON CONFLICT (scope, hour) DO UPDATE SET runs = usage.runs + excluded.runs, \
     calls = usage.calls + excluded.calls, prompt_tokens = usage.prompt_tokens + excluded.prompt_tokens, \
     completion_tokens = usage.completion_tokens + excluded.completion_tokens, \
     cached_tokens = usage.cached_tokens + excluded.cached_tokens, \
     cache_written_tokens = usage.cache_written_tokens + excluded.cache_written_tokens, cost = usage.cost + excluded.cost";

const ANSWERED: &str =
    "scope, hour, runs, calls, prompt_tokens, completion_tokens, cached_tokens, cache_written_tokens, cost";

pub(crate) const SUM: &str = "CAST(COALESCE(SUM(u.runs), 0) AS BIGINT) AS runs, CAST(COALESCE(SUM(u.calls), 0) AS BIGINT) AS calls, \
                   CAST(COALESCE(SUM(u.prompt_tokens), 0) AS BIGINT) AS prompt_tokens, \
                   CAST(COALESCE(SUM(u.completion_tokens), 0) AS BIGINT) AS completion_tokens, \
                   CAST(COALESCE(SUM(u.cached_tokens), 0) AS BIGINT) AS cached_tokens, \
                   CAST(COALESCE(SUM(u.cache_written_tokens), 0) AS BIGINT) AS cache_written_tokens, \
                   CAST(COALESCE(SUM(u.cost), 0) AS BIGINT) AS cost";

struct Row {
    scope: String,
    hour: i64,
    counts: Counts,
}

record!(Row { scope, hour }, |row| { counts: Record::read(row)? });

/// Adds to counters and answers what they come to.
async fn add(counts: BTreeMap<Counter<'_>, Counts>, connection: &mut Connection) -> Result<Vec<Row>> {
    let row = |((scope, hour), c): (Counter<'_>, Counts)| -> Vec<Arg> {
        list![
            scope,
            hour,
            c.runs,
            c.calls,
            c.prompt_tokens,
            c.completion_tokens,
            c.cached_tokens,
            c.cache_written_tokens,
            c.cost
        ]
    };
    let rows = counts.into_iter().map(row).collect();
    connection.all_rows(&format!("{INTO} VALUES"), rows, &format!("{ADDED} RETURNING {ANSWERED}")).await
}

/// Counts what was spent. In the order of the counters, so that two writers do not wait for each other.
pub(crate) async fn spend<'a>(spent: impl Iterator<Item = &'a Spent>, connection: &mut Connection) -> Result<()> {
    let mut counts: BTreeMap<Counter<'a>, Counts> = BTreeMap::new();
    for one in spent {
        *counts.entry((&one.scope, one.hour)).or_default() += one.counts;
    }
    add(counts, connection).await.map(drop)
}

/// A run that wants to begin, or to go on.
pub(crate) struct Asked<'a> {
    pub ceilings: &'a [Ceiling],
    /// It was counted when it began.
    pub is_counted: bool,
}

impl Asked<'_> {
    fn runs(&self) -> i64 {
        i64::from(!self.is_counted)
    }

    fn counters(&self) -> BTreeSet<Counter<'_>> {
        self.ceilings.iter().map(Ceiling::counter).collect()
    }
}

/// Counts the runs that are asked for, in order; says for each which ceiling refuses it. Those are not counted.
pub(crate) async fn admit<'a>(asked: &[Asked<'a>], connection: &mut Connection) -> Result<Vec<Option<&'a Ceiling>>> {
    let runs = |runs| Counts { runs, ..Counts::default() };
    let mut wanted: BTreeMap<Counter, Counts> = BTreeMap::new();
    for one in asked {
        one.counters().into_iter().for_each(|counter| *wanted.entry(counter).or_default() += runs(one.runs()));
    }
    if wanted.is_empty() {
        return Ok(vec![None; asked.len()]);
    }
    // Counted first: from here on, others who count the same wait for this transaction.
    let rows = add(wanted.clone(), connection).await?;
    let present: HashMap<Counter, Counts> =
        rows.iter().map(|row| ((row.scope.as_str(), row.hour), row.counts)).collect();
    let earlier = earlier(asked, connection).await?;
    // Of what is counted, that which was not let through.
    let mut open = wanted;
    let mut given_back: BTreeMap<Counter, Counts> = BTreeMap::new();
    let mut answers = Vec::with_capacity(asked.len());
    for one in asked {
        let is_full = |ceiling: &&Ceiling| {
            let Ceiling { scope, since, hour, .. } = ceiling;
            let mut spent = present[&ceiling.counter()];
            spent += earlier.get(&(scope.clone(), *since, *hour)).copied().unwrap_or_default();
            spent.runs -= open.range((scope.as_str(), *since)..=(scope, *hour)).map(|(_, open)| open.runs).sum::<i64>();
            ceiling.is_full(&spent, one.is_counted)
        };
        let full = one.ceilings.iter().filter(is_full).max_by_key(|ceiling| ceiling.action);
        for counter in one.counters() {
            match full {
                None => *open.entry(counter).or_default() += runs(-one.runs()),
                Some(_) => *given_back.entry(counter).or_default() += runs(-one.runs()),
            }
        }
        answers.push(full);
    }
    if !given_back.is_empty() {
        add(given_back, connection).await?;
    }
    Ok(answers)
}

/// Scope, first hour and present hour.
type Window = (String, i64, i64);

/// What was spent in the hours of the windows before the present one.
async fn earlier(asked: &[Asked<'_>], connection: &mut Connection) -> Result<HashMap<Window, Counts>> {
    let limits = |c: &&Ceiling| c.since < c.hour && (c.runs.is_some() || c.tokens.is_some() || c.cost.is_some());
    let windows: BTreeSet<(&str, i64, i64)> = asked
        .iter()
        .flat_map(|one| one.ceilings)
        .filter(limits)
        .map(|ceiling| (ceiling.scope.as_str(), ceiling.since, ceiling.hour))
        .collect();
    let rows = windows.into_iter().map(|(scope, since, hour)| list![scope, since, hour]).collect();
    let rows: Vec<Earlier> = connection
        .all_rows(
            &format!("SELECT v.column1 AS scope, v.column2 AS since, v.column3 AS hour, {SUM} FROM (VALUES"),
            rows,
            ") AS v CROSS JOIN usage u WHERE u.scope = v.column1 AND u.hour >= v.column2 AND u.hour < v.column3 \
             GROUP BY v.column1, v.column2, v.column3",
        )
        .await?;
    Ok(rows.into_iter().map(|row| ((row.scope, row.since, row.hour), row.counts)).collect())
}

struct Earlier {
    scope: String,
    since: i64,
    hour: i64,
    counts: Counts,
}

record!(Earlier { scope, since, hour }, |row| { counts: Record::read(row)? });

/// One line of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub scope: String,
    /// The first hour of the line, since 1970.
    pub hour: i64,
    pub counts: Counts,
}

record!(Line { scope, hour }, |row| { counts: Record::read(row)? });

impl Store {
    /// What a scope has spent from an hour on.
    pub async fn spent(&self, scope: &str, since: i64) -> Result<Counts> {
        let sql = format!("SELECT {SUM} FROM usage u WHERE u.scope = $1 AND u.hour >= $2");
        Ok(self.engine.read_first(sql, list![scope, since]).await?.unwrap_or_default())
    }

    /// What the scopes that begin with `kind` spent in some hours (the last is not among them), `step` hours a line.
    pub async fn account(&self, kind: &str, from: i64, to: i64, step: i64, limit: i64) -> Result<Vec<Line>> {
        let sql = format!(
            "SELECT u.scope AS scope, u.hour / $5 * $5 AS hour, {SUM} FROM usage u \
             WHERE u.scope >= $1 AND u.scope < $2 AND u.hour >= $3 AND u.hour < $4 GROUP BY 1, 2 ORDER BY 2, 1 LIMIT $6"
        );
        // Behind everything that begins so.
        let end = format!("{kind}\u{10ffff}");
        self.engine.read(sql, list![kind, end, from, to, step, limit]).await
    }
}
