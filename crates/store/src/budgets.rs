//! What the operator lets others spend, and what models cost.

use crate::{
    Error, Result, Store,
    engine::{Connection, list, record},
    now,
    writer::Write,
};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    pub id: Uuid,
    /// As in the account; `bot:*`, `integration:*` and `channel:*` stand for each that has no budget of its own.
    pub scope: String,
    /// `hour` or `day`.
    pub period: String,
    pub runs: Option<i64>,
    pub tokens: Option<i64>,
    /// Millionths of a dollar.
    pub cost: Option<i64>,
    /// `park`, `digest` or `store`.
    pub action: String,
    pub created_at: i64,
}

record!(Budget { id, scope, period, runs, tokens, cost, action, created_at });

/// Millionths of a dollar for a million tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// `*`: every model that has no price of its own.
    pub model: String,
    pub prompt: i64,
    pub completion: i64,
    /// Of what was found in the provider's cache, and of what was put there; none: as `prompt`.
    pub cached: Option<i64>,
    pub cache_written: Option<i64>,
}

record!(Price { model, prompt, completion, cached, cache_written });

enum Change {
    Create(Budget),
    Update(Budget),
    Delete(Uuid),
    Prices(Vec<Price>),
}

impl Write for Change {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for change in group {
            answers.push(match change {
                Self::Create(budget) => put(budget, connection).await?,
                Self::Update(budget) => {
                    let taken: Option<(Uuid,)> = connection
                        .first(
                            "SELECT id FROM budgets WHERE scope = $1 AND period = $2 AND id <> $3",
                            list![&budget.scope, &budget.period, budget.id],
                        )
                        .await?;
                    let sql = "UPDATE budgets SET scope = $2, period = $3, runs = $4, tokens = $5, cost = $6, action = $7 \
                               WHERE id = $1";
                    let args = list![
                        budget.id,
                        &budget.scope,
                        &budget.period,
                        budget.runs,
                        budget.tokens,
                        budget.cost,
                        &budget.action
                    ];
                    match taken {
                        Some(_) => Err(taken_by_another(budget)),
                        None if connection.run(sql, args).await? == 0 => Err(missing(budget.id)),
                        None => Ok(()),
                    }
                }
                Self::Delete(id) => {
                    match connection.run("DELETE FROM budgets WHERE id = $1", list![*id]).await? {
                        0 => Err(missing(*id)),
                        _ => Ok(()),
                    }
                }
                Self::Prices(prices) => {
                    connection.run("DELETE FROM prices", list![]).await?;
                    let row = |price: &Price| {
                        let Price { model, prompt, completion, cached, cache_written } = price;
                        list![model, *prompt, *completion, *cached, *cache_written]
                    };
                    let sql = "INSERT INTO prices (model, prompt, completion, cached, cache_written) VALUES";
                    connection.run_rows(sql, prices.iter().map(row).collect(), "").await?;
                    Ok(())
                }
            });
        }
        Ok(answers)
    }
}

async fn put(budget: &Budget, connection: &mut Connection) -> Result<Result<()>> {
    let sql = "INSERT INTO budgets (id, scope, period, runs, tokens, cost, action, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
    let args = list![
        budget.id,
        &budget.scope,
        &budget.period,
        budget.runs,
        budget.tokens,
        budget.cost,
        &budget.action,
        budget.created_at
    ];
    Ok(if connection.run(sql, args).await? > 0 { Ok(()) } else { Err(taken_by_another(budget)) })
}

fn taken_by_another(budget: &Budget) -> Error {
    Error::Conflict(format!(
        "There is a budget of `{}` for each {} already: change that one",
        budget.scope, budget.period
    ))
}

fn missing(id: Uuid) -> Error {
    Error::NotFound(format!("There is no budget {id}"))
}

struct Setting {
    key: &'static str,
    value: Option<String>,
}

impl Write for Setting {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for Self { key, value } in group {
            match value {
                Some(value) => {
                    let sql = "INSERT INTO server_settings (key, value, updated_at) VALUES ($1, $2, $3) \
                               ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at";
                    connection.run(sql, list![*key, value, now()]).await?
                }
                None => connection.run("DELETE FROM server_settings WHERE key = $1", list![*key]).await?,
            };
            answers.push(Ok(()));
        }
        Ok(answers)
    }
}

impl Store {
    /// Oldest first.
    pub async fn budgets(&self) -> Result<Vec<Budget>> {
        let sql =
            "SELECT id, scope, period, runs, tokens, cost, action, created_at FROM budgets ORDER BY created_at, id";
        self.engine.read(sql, list![]).await
    }

    /// # Errors
    /// `Conflict` when its scope has a budget for that period.
    pub async fn create_budget(&self, budget: Budget) -> Result<()> {
        self.writer.write(Change::Create(budget)).await
    }

    /// # Errors
    /// `NotFound`, or `Conflict` as for a new one.
    pub async fn update_budget(&self, budget: Budget) -> Result<()> {
        self.writer.write(Change::Update(budget)).await
    }

    pub async fn delete_budget(&self, id: Uuid) -> Result<()> {
        self.writer.write(Change::Delete(id)).await
    }

    pub async fn prices(&self) -> Result<Vec<Price>> {
        self.engine
            .read("SELECT model, prompt, completion, cached, cache_written FROM prices ORDER BY model", list![])
            .await
    }

    /// Replaces all of them.
    pub async fn put_prices(&self, prices: Vec<Price>) -> Result<()> {
        self.writer.write(Change::Prices(prices)).await
    }

    /// A setting of the server itself.
    pub async fn server_setting(&self, key: &str) -> Result<Option<String>> {
        let row: Option<(String,)> =
            self.engine.read_first("SELECT value FROM server_settings WHERE key = $1", list![key]).await?;
        Ok(row.map(|(value,)| value))
    }

    /// Sets or removes one.
    pub async fn put_server_setting(&self, key: &'static str, value: Option<String>) -> Result<()> {
        self.writer.write(Setting { key, value }).await
    }
}
