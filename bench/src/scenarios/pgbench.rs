//! What PostgreSQL itself does with the statements of a webhook: its own generator, no server of ours in between.

use super::CONCURRENCY;
use crate::{
    Bench,
    engine::Database,
    in_process::{self, MESSAGE, PREAMBLE},
    measure::{Figure, Row, Unit, median},
    payload::{Fate, Size, Template},
    server,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fmt::Write,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

/// Webhooks in one transaction, as our writer makes them at 64 connections.
const GROUP: usize = 32;
/// What of a body of 1.5 kB is stored: it is packed.
const PACKED: usize = 700;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let database = bench.engine.database()?.context("pgbench measures PostgreSQL")?;
    in_process::open_postgres(&database).await?.close().await;
    // One for each connection, as if each were a server.
    database.ask(
        "INSERT INTO workers (id, started_at, seen_at) OVERRIDING SYSTEM VALUE \
         SELECT 1000 + n, 0, 0 FROM generate_series(0, 63) n",
    )?;
    let newest: u32 = database.ask("SHOW server_version_num")?.parse()?;
    // Ascending, as ours are, where the server can make them.
    let id = if newest >= 180_000 { "uuidv7()" } else { "gen_random_uuid()" };
    let mut rows = Vec::new();
    for fate in [Fate::Stored, Fate::Runs] {
        let plans = CONCURRENCY.map(|concurrency| (concurrency, 1)).into_iter().chain([(1, GROUP)]);
        for (concurrency, group) in plans {
            let script = script(fate, group, id)?;
            let mut rounds = Vec::new();
            for _ in 0..bench.plan.rounds {
                rounds.push(run(&database, &script, concurrency, bench.plan.round)?);
            }
            let (transactions, latencies): (Vec<f64>, Vec<f64>) = rounds.into_iter().unzip();
            let transactions = median(transactions);
            let figures = vec![
                Figure::new("rate", transactions * group as f64, Unit::PerSecond),
                Figure::new("transactions", transactions, Unit::PerSecond),
                Figure::new("mean", median(latencies), Unit::Milliseconds),
            ];
            let way = if group == 1 { String::new() } else { format!(", {group} in a transaction") };
            rows.push(Row::new(format!("pgbench, webhooks {}, c={concurrency}{way}", fate.name()), figures));
        }
    }
    Ok(rows)
}

/// Transactions a second, and the milliseconds that one took.
fn run(database: &Database, script: &str, concurrency: usize, time: Duration) -> Result<(f64, f64)> {
    let directory = server::directory()?;
    let file = directory.path().join("webhook.sql");
    fs::write(&file, script)?;
    // Whole seconds.
    let seconds = time.as_secs_f64().ceil().max(1.0);
    let mut command = database.program("pgbench")?;
    command.args(["--no-vacuum", "--protocol=prepared"]);
    command.args([format!("--client={concurrency}"), format!("--jobs={}", concurrency.min(2))]);
    command.args([format!("--time={seconds}"), format!("--define=body=\\x{}", body())]);
    let output = command.arg("--file").arg(Path::new(&file)).arg(&database.url).output()?;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "pgbench ended with {}: {complained}", output.status);
    let after = |key: &str| -> Result<f64> {
        let rest = said.lines().find_map(|line| line.strip_prefix(key));
        let Some(number) = rest.and_then(|rest| rest.split(' ').next()) else {
            bail!("pgbench said no `{key}`: {said}")
        };
        Ok(number.parse()?)
    };
    Ok((after("tps = ")?, after("latency average = ")?))
}

fn body() -> String {
    hex::encode(&Template::new(Size::Small, Fate::Stored).event().body[..PACKED])
}

/// What `Store::accept` sends, statement by statement, for so many webhooks. The ids that it takes from one statement to
/// the next are made anew in each: to the tables it is the same.
fn script(fate: Fate, group: usize, id: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_micros();
    let (day, month) = (now + 86_400_000_000, now + 30 * 86_400_000_000);
    let mut script = String::new();
    for n in 0..group {
        // Every opened one is new, pushes go to the same again and again; in a group no conversation is there twice.
        let numbers = if fate == Fate::Runs { i64::MAX } else { 256 };
        writeln!(script, "\\set number{n} random(1, {numbers})")?;
        let (from, to) = if group == 1 { (0, 63) } else { (n, n) };
        writeln!(script, "\\set repository{n} random({from}, {to})")?;
    }
    let mut say = |statement: String| script.push_str(&(statement + ";\n"));
    say("BEGIN".into());
    let keys = rows(group, |_| {
        let key = |kind: &str| format!("{} || gen_random_uuid()", quoted(&format!("delivery/github/default/{kind}/")));
        format!("({}, {id}, {day}), ({}, {id}, {month})", key("body"), key("id"))
    });
    say(format!(
        "INSERT INTO dedupe (key, subject, expires_at) VALUES {keys} ON CONFLICT (key) DO UPDATE SET \
         subject = excluded.subject, expires_at = excluded.expires_at WHERE dedupe.expires_at <= {now}"
    ));
    let runs = fate == Fate::Runs;
    if runs {
        let hour = now / 3_600_000_000;
        let scopes = ["bot:default", "channel:github", "integration:github", "server"];
        let counted = rows(scopes.len(), |n| format!("({}, {hour}, {group}, 0, 0, 0, 0)", quoted(scopes[n])));
        let columns = ["runs", "calls", "prompt_tokens", "completion_tokens", "cost"];
        let sums = columns.map(|column| format!("{column} = usage.{column} + excluded.{column}")).join(", ");
        say(format!(
            "INSERT INTO usage (scope, hour, {0}) VALUES {counted} ON CONFLICT (scope, hour) DO UPDATE SET {sums} \
             RETURNING scope, hour, {0}",
            columns.join(", ")
        ));
        let asked = rows(2, |n| format!("({}, {}, {hour})", quoted(scopes[n + 2]), hour - hour % 24));
        let sums = columns.map(|column| format!("CAST(COALESCE(SUM(u.{column}), 0) AS BIGINT)")).join(", ");
        say(format!(
            "SELECT v.column1, v.column2, v.column3, {sums} FROM (VALUES {asked}) AS v CROSS JOIN usage u \
             WHERE u.scope = v.column1 AND u.hour >= v.column2 AND u.hour < v.column3 GROUP BY v.column1, v.column2, v.column3"
        ));
    }
    let (github, repository) = (quoted("github:"), quoted("bench/repository-"));
    let head = if runs { id } else { "NULL" };
    let sessions = rows(group, |n| {
        format!(
            "({id}, {github} || {repository} || :repository{n}::TEXT, 'default', 'pr/' || :number{n}::TEXT, NULL, 1, {head}, \
             TRUE, {now}, {now})"
        )
    });
    say(format!(
        "INSERT INTO sessions (id, client_id, bot_id, thread, channel_id, seq, head, active, created_at, last_at) \
         VALUES {sessions} ON CONFLICT (client_id, bot_id, thread) WHERE active DO UPDATE SET \
         seq = sessions.seq + excluded.seq, head = COALESCE(sessions.head, excluded.head), last_at = excluded.last_at, \
         channel_id = COALESCE(excluded.channel_id, sessions.channel_id) RETURNING id, client_id, bot_id, thread, seq, head"
    ));
    let headers = quoted(
        "{\"content-type\":\"application/json\",\"user-agent\":\"GitHub-Hookshot/044aadd\",\"x-github-event\":\"pull_request\",\
         \"x-github-delivery\":\"9a1c1f6e-8f0a-4c55-9d3b-0d2e5a7f9b11\",\"x-github-hook-id\":\"292430182\"}",
    );
    let answer = quoted("{\"status\":\"processed\",\"delivery_id\":\"01a1f815-3211-74f7-8926-c102ab3d2888\"}");
    let outcome = fate.name();
    let deliveries = rows(group, |_| {
        format!(
            "({id}, 'github', 'default', 'pull_request.synchronize', 'processed', '{outcome}', NULL, 'github', {headers}, \
             :body::BYTEA, {answer}, 1, {now})"
        )
    });
    say(format!(
        "INSERT INTO deliveries (id, integration, connection, event, state, outcome, reason, verified_by, headers, body, \
         answer, generation, received_at) VALUES {deliveries}"
    ));
    let (message, metadata) = (quoted(MESSAGE), quoted("{\"event\":\"pull_request.synchronize\"}"));
    let task = if runs { id } else { "NULL" };
    let messages = rows(group, |_| {
        format!("({id}, {id}, 1, 'user', {message}, 'github', {task}, {id}, FALSE, 0, {metadata}, {now})")
    });
    say(format!(
        "INSERT INTO messages (id, session_id, seq, role, content, source, task_id, delivery_id, trusted, hops, metadata, \
         created_at) VALUES {messages}"
    ));
    if runs {
        let config =
            quoted(&format!("{{\"system_preamble\":\"{PREAMBLE}\",\"skills\":[\"integrations/github/github\"]}}"));
        let target = quoted("{\"type\":\"github\",\"repo\":\"bench/repository\",\"number\":1}");
        let tasks = rows(group, |_| {
            format!(
                "({id}, {id}, {id}, NULL, {id}, 'default', 'github', 1, TRUE, {config}, {target}, FALSE, 0, FALSE, 'pending', \
                 0, FALSE, 0, {now}, {now})"
            )
        });
        say(format!(
            "INSERT INTO tasks (id, session_id, message_id, channel_id, delivery_id, bot_id, origin, seq, ready, \
             execution_config, sealed_target, trusted, hops, rehearse, status, attempt, cancelled, tokens, run_at, created_at) \
             VALUES {tasks}"
        ));
    }
    say("UPDATE workers SET commits = commits + 1, seen_at = (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::BIGINT \
         WHERE id = 1000 + :client_id"
        .into());
    say("COMMIT".into());
    Ok(script)
}

fn rows(count: usize, row: impl Fn(usize) -> String) -> String {
    (0..count).map(row).collect::<Vec<_>>().join(", ")
}

/// A text, in which pgbench finds no variable of its own: they begin with a colon.
fn quoted(text: &str) -> String {
    format!("('{}')", text.replace('\'', "''").replace(':', ":' || '"))
}
