//! What was spent, and what models cost.

use super::{
    error::{Error, Result},
    request::{Body, Query, name},
    time::{Time, rfc3339},
};
use crate::{
    app::App,
    budgets::{HOUR, KINDS, Period, SERVER},
    ceilings,
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, NaiveDate};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write, sync::Arc};
use tercel_store::{Line, Price, now};

/// Lines of one account.
const MOST: i64 = 10_000;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Question {
    /// `bot`, `integration`, `channel` or `model`; absent: the whole server.
    by: Option<String>,
    /// A day (`2026-01-31`) or a time; absent: 30 days ago, for hours yesterday.
    from: Option<String>,
    /// A day or a time that is not among them any more; absent: now.
    to: Option<String>,
    /// `day` (in UTC) when absent.
    granularity: Option<Period>,
}

/// What was spent in one hour or on one day.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Spent {
    /// Name of the bot, integration, channel or model; `server` for all of it.
    key: String,
    from: Time,
    /// Runs that were begun. For a model: 0.
    runs: i64,
    /// Calls of models that were paid for.
    calls: i64,
    prompt_tokens: i64,
    completion_tokens: i64,
    /// Of the prompts: what the provider found in its cache.
    cached_tokens: i64,
    /// Of the prompts: what the provider put into its cache.
    cache_written_tokens: i64,
    /// At the prices of that time.
    cost_usd: f64,
}

impl Spent {
    fn of(line: Line) -> Self {
        let key = line.scope.split_once(':').map_or(line.scope.as_str(), |(_, key)| key).to_owned();
        let counts = line.counts;
        Self {
            key,
            from: Time(line.hour * HOUR),
            runs: counts.runs,
            calls: counts.calls,
            prompt_tokens: counts.prompt_tokens,
            completion_tokens: counts.completion_tokens,
            cached_tokens: counts.cached_tokens,
            cache_written_tokens: counts.cache_written_tokens,
            cost_usd: dollars(counts.cost),
        }
    }
}

/// Show what was spent, oldest first; as CSV where `Accept` asks for `text/csv`
#[utoipa::path(get, path = "/api/v1/usage", tag = "usage", params(Question), responses((status = 200, content((Vec<Spent> = "application/json"), (String = "text/csv")))))]
pub async fn show(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Query(question): Query<Question>,
) -> Result<Response> {
    let kind = match question.by.as_deref() {
        None => SERVER.to_owned(),
        Some(by) if KINDS.contains(&by) || by == "model" => format!("{by}:"),
        Some(_) => return Err(Error::invalid("by: bot, integration, channel or model is expected")),
    };
    let period = question.granularity.unwrap_or(Period::Day);
    let usual = match period {
        Period::Day => 30 * 24,
        Period::Hour => 24,
    };
    let hour = ceilings::this_hour();
    let from = question.from.map(|text| micros("from", &text)).transpose()?.map_or(hour - usual, |at| at / HOUR);
    let to = question.to.map(|text| micros("to", &text)).transpose()?.unwrap_or(now());
    // An hour that is not over is there as far as it is known.
    let to = (to + HOUR - 1).div_euclid(HOUR);
    let from = period.since(from);
    if from >= to {
        return Err(Error::invalid("from: it must lie before `to`"));
    }
    let lines = app.store.account(&kind, from, to, period.hours(), MOST + 1).await?;
    if lines.len() as i64 > MOST {
        return Err(Error::invalid(format!("from, to: this has more than {MOST} lines; ask for less time at once")));
    }
    let lines: Vec<Spent> = lines.into_iter().map(Spent::of).collect();
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/csv") {
        return Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv(&lines)).into_response());
    }
    Ok(Json(lines).into_response())
}

fn micros(field: &str, text: &str) -> Result<i64> {
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc());
    let time = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()).or_else(day);
    let time = time.filter(|time| (0..=253_402_300_799).contains(&time.timestamp()));
    let expected = || {
        Error::invalid(format!("{field}: a day such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z is expected"))
    };
    time.map(|time| time.timestamp_micros()).ok_or_else(expected)
}

fn csv(lines: &[Spent]) -> String {
    let mut text = String::from(
        "key,from,runs,calls,prompt_tokens,completion_tokens,cost_usd,cached_tokens,cache_written_tokens\r\n",
    );
    for line in lines {
        let Spent { key, from, runs, calls, prompt_tokens, completion_tokens, cost_usd, .. } = line;
        let (from, read, written) = (rfc3339(from.0), line.cached_tokens, line.cache_written_tokens);
        // Writing to a string cannot fail.
        let _ = write!(text, "{},{from},{runs},{calls},{prompt_tokens},{completion_tokens},", cell(key));
        let _ = write!(text, "{cost_usd},{read},{written}\r\n");
    }
    text
}

/// Strangers name some keys: a spreadsheet must not take them for formulas.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

/// What a model costs.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Dollars for a million tokens of what the model reads.
    prompt: f64,
    /// Dollars for a million tokens of what it writes.
    completion: f64,
    /// The same of what the provider finds in its cache; the price of `prompt` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cached: Option<f64>,
    /// The same of what the provider puts into its cache; the price of `prompt` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_written: Option<f64>,
}

#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// By the name of the model; `*` for every other one. A model without a price costs nothing.
    prices: BTreeMap<String, Cost>,
}

/// Show what models cost
#[utoipa::path(get, path = "/api/v1/usage/prices", tag = "usage", responses((status = 200, body = Prices)))]
pub async fn prices(State(app): State<Arc<App>>) -> Result<Json<Prices>> {
    let rows = app.store.prices().await?.into_iter();
    let cost = |row: &Price| Cost {
        prompt: dollars(row.prompt),
        completion: dollars(row.completion),
        cached: row.cached.map(dollars),
        cache_written: row.cache_written.map(dollars),
    };
    Ok(Json(Prices { prices: rows.map(|row| (row.model.clone(), cost(&row))).collect() }))
}

/// Replace what models cost, from now on
#[utoipa::path(put, path = "/api/v1/usage/prices", tag = "usage", request_body = Prices, responses((status = 200, body = Prices)))]
pub async fn put_prices(State(app): State<Arc<App>>, Body(body): Body<Prices>) -> Result<Json<Prices>> {
    let mut rows = Vec::with_capacity(body.prices.len());
    for (model, cost) in body.prices {
        name("prices: the name of a model", &model, 255)?;
        let of = |what: &str, dollars: f64| millionths(&format!("prices.{model}.{what}"), dollars);
        rows.push(Price {
            prompt: of("prompt", cost.prompt)?,
            completion: of("completion", cost.completion)?,
            cached: cost.cached.map(|dollars| of("cached", dollars)).transpose()?,
            cache_written: cost.cache_written.map(|dollars| of("cache_written", dollars)).transpose()?,
            model,
        });
    }
    app.store.put_prices(rows).await?;
    ceilings::reload(&app).await?;
    prices(State(app)).await
}

pub fn dollars(millionths: i64) -> f64 {
    millionths as f64 / 1e6
}

/// # Errors
/// For what is no amount of money.
pub fn millionths(field: &str, dollars: f64) -> Result<i64> {
    match dollars.is_finite() && (0.0..=1e9).contains(&dollars) {
        true => Ok((dollars * 1e6).round() as i64),
        false => Err(Error::invalid(format!("{field}: dollars from 0 to 1,000,000,000 are expected"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_one_that_a_spreadsheet_can_take() {
        let line = |key: &str| Spent {
            key: key.into(),
            from: Time(0),
            runs: 1,
            calls: 2,
            prompt_tokens: 3,
            completion_tokens: 4,
            cached_tokens: 5,
            cache_written_tokens: 6,
            cost_usd: 0.000_005,
        };
        let text = csv(&[line("a,\"b\""), line("=1+1")]);
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            rows,
            [
                "\"a,\"\"b\"\"\",1970-01-01T00:00:00.000000Z,1,2,3,4,0.000005,5,6",
                "\"'=1+1\",1970-01-01T00:00:00.000000Z,1,2,3,4,0.000005,5,6"
            ]
        );
    }

    #[test]
    fn a_time_is_a_day_or_a_time_and_money_is_no_less_than_nothing() {
        assert_eq!(micros("from", "1970-01-02").ok(), Some(86_400_000_000));
        assert_eq!(micros("from", "1970-01-01T01:00:01+01:00").ok(), Some(1_000_000));
        assert!(micros("from", "yesterday").is_err() && micros("to", "-100000-01-01").is_err());
        assert_eq!(millionths("x", 1.25).ok(), Some(1_250_000));
        assert!(millionths("x", -1.0).is_err() && millionths("x", f64::NAN).is_err());
    }
}
