//! What may be spent by whom, and what models cost: a snapshot of the operator's word over the defaults.

use crate::config::Ceilings as Defaults;
use std::collections::HashMap;
use tercel_sdk::chat::Usage;
use tercel_store::{Action, Budget, Ceiling, Price, Result, Store, Uuid};

pub const HOUR: i64 = 3_600_000_000;
/// Hours.
const DAY: i64 = 24;
/// The scope that counts everything.
pub const SERVER: &str = "server";
/// What a scope may begin with, and a budget be for.
pub const KINDS: [&str; 3] = ["bot", "channel", "integration"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    Hour,
    Day,
}

impl Period {
    const ALL: [Self; 2] = [Self::Hour, Self::Day];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    pub fn hours(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => DAY,
        }
    }

    /// The first hour of the window that an hour lies in.
    pub fn since(self, hour: i64) -> i64 {
        hour - hour.rem_euclid(self.hours())
    }
}

/// What one scope may spend in each window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// None: the default.
    pub id: Option<Uuid>,
    pub scope: String,
    pub period: Period,
    pub runs: Option<i64>,
    pub tokens: Option<i64>,
    pub cost: Option<i64>,
    pub action: Action,
    /// The setting that a default comes from.
    pub setting: Option<&'static str>,
}

/// Whose run it is.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    pub bot_id: &'a str,
    pub origin: &'a str,
    pub client_id: &'a str,
    /// Strangers come through integrations; who holds an API key is the operator, whom no default for each stops.
    pub is_outside: bool,
}

impl Whose<'_> {
    fn scopes(&self) -> [(&str, String); 4] {
        [
            ("integration", format!("integration:{}", self.origin)),
            ("channel", format!("channel:{}", self.client_id)),
            ("bot", format!("bot:{}", self.bot_id)),
            (SERVER, SERVER.into()),
        ]
    }

    /// What is counted for it, whatever limits there are.
    pub fn counters(&self) -> [String; 4] {
        self.scopes().map(|(_, scope)| scope)
    }
}

#[derive(Debug, Default)]
pub struct Rules {
    limits: Vec<Limit>,
    prices: HashMap<String, Price>,
}

impl Rules {
    pub async fn load(store: &Store, defaults: Defaults) -> Result<Self> {
        Ok(Self::new(store.budgets().await?, store.prices().await?, defaults))
    }

    pub fn new(budgets: Vec<Budget>, prices: Vec<Price>, defaults: Defaults) -> Self {
        let mut limits: Vec<Limit> = budgets.into_iter().map(Limit::from).collect();
        for default in by_default(defaults) {
            if limits.iter().all(|limit| (&limit.scope, limit.period) != (&default.scope, default.period)) {
                limits.push(default);
            }
        }
        let prices = prices.into_iter().map(|price| (price.model.clone(), price)).collect();
        Self { limits, prices }
    }

    pub fn all(&self) -> &[Limit] {
        &self.limits
    }

    /// The limits of a scope, one for each period at the most: its own, else the one for each of its kind.
    pub fn of<'a>(&'a self, scope: &str, is_outside: bool) -> impl Iterator<Item = &'a Limit> {
        let kind = scope.split_once(':').map_or(scope, |(kind, _)| kind);
        let each = format!("{kind}:*");
        let scope = scope.to_owned();
        let open = is_outside || kind != "integration";
        Period::ALL.into_iter().filter_map(move |period| {
            let find = |scope: &str| self.limits.iter().find(|l| l.scope == scope && l.period == period);
            find(&scope).or_else(|| find(&each).filter(|_| open))
        })
    }

    /// The counters of a run that begins in an hour, with their limits.
    pub fn ceilings(&self, whose: &Whose, hour: i64) -> Vec<Ceiling> {
        let mut all = Vec::new();
        for scope in whose.counters() {
            let before = all.len();
            all.extend(self.of(&scope, whose.is_outside).map(|limit| limit.ceiling(&scope, hour)));
            if all.len() == before {
                all.push(counter(scope, hour));
            }
        }
        all
    }

    /// Whether somebody said what a model costs, by one of its names.
    pub fn is_priced(&self, names: &[String]) -> bool {
        self.price(names).is_some()
    }

    /// Whether any budget is one of money.
    pub fn count_money(&self) -> bool {
        self.limits.iter().any(|limit| limit.cost.is_some())
    }

    /// The first of its names that has a price, then the price of every other model.
    fn price(&self, names: &[String]) -> Option<&Price> {
        names.iter().find_map(|name| self.prices.get(name)).or_else(|| self.prices.get("*"))
    }

    /// Millionths of a dollar, rounded. A model without a price costs nothing.
    pub fn cost(&self, names: &[String], usage: Usage) -> i64 {
        let Some(price) = self.price(names) else { return 0 };
        let of = |tokens: u64, price: i64| i128::from(tokens) * i128::from(price);
        let plain = usage.prompt_tokens.saturating_sub(usage.cached_tokens).saturating_sub(usage.cache_written_tokens);
        let whole = of(plain, price.prompt)
            + of(usage.cached_tokens, price.cached.unwrap_or(price.prompt))
            + of(usage.cache_written_tokens, price.cache_written.unwrap_or(price.prompt))
            + of(usage.completion_tokens, price.completion);
        i64::try_from((whole + 500_000) / 1_000_000).unwrap_or(i64::MAX)
    }
}

/// Counts and limits nothing.
pub fn counter(scope: String, hour: i64) -> Ceiling {
    Ceiling { scope, since: hour, hour, runs: None, tokens: None, cost: None, action: Action::Store }
}

impl Limit {
    pub fn ceiling(&self, scope: &str, hour: i64) -> Ceiling {
        let Self { period, runs, tokens, cost, action, .. } = *self;
        Ceiling { scope: scope.into(), since: period.since(hour), hour, runs, tokens, cost, action }
    }
}

impl From<Budget> for Limit {
    fn from(row: Budget) -> Self {
        Self {
            id: Some(row.id),
            period: if row.period == "hour" { Period::Hour } else { Period::Day },
            runs: row.runs,
            tokens: row.tokens,
            cost: row.cost,
            action: action(&row.action).unwrap_or(Action::Store),
            scope: row.scope,
            setting: None,
        }
    }
}

pub fn action(name: &str) -> Option<Action> {
    [Action::Park, Action::Digest, Action::Store].into_iter().find(|action| name_of(*action) == name)
}

pub fn name_of(action: Action) -> &'static str {
    match action {
        Action::Park => "park",
        Action::Digest => "digest",
        Action::Store => "store",
    }
}

fn by_default(defaults: Defaults) -> [Limit; 3] {
    let Defaults { runs_per_integration_and_day, runs_per_channel_and_hour, tokens_per_day } = defaults;
    let limit = |scope: &str, period, runs: i64, tokens: i64, setting| Limit {
        id: None,
        scope: scope.into(),
        period,
        runs: (runs > 0).then_some(runs),
        tokens: (tokens > 0).then_some(tokens),
        cost: None,
        action: Action::Store,
        setting: Some(setting),
    };
    [
        limit("integration:*", Period::Day, runs_per_integration_and_day, 0, "TERCEL_RUNS_PER_DAY"),
        limit("channel:*", Period::Hour, runs_per_channel_and_hour, 0, "TERCEL_RUNS_PER_HOUR"),
        limit(SERVER, Period::Day, 0, tokens_per_day, "TERCEL_TOKENS_PER_DAY"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults =
        Defaults { runs_per_integration_and_day: 200, runs_per_channel_and_hour: 60, tokens_per_day: 0 };

    fn budget(scope: &str, period: &str, runs: Option<i64>) -> Budget {
        let action = "park".into();
        let (scope, period) = (scope.into(), period.into());
        Budget { id: Uuid::now_v7(), scope, period, runs, tokens: None, cost: None, action, created_at: 0 }
    }

    fn runs(rules: &Rules, scope: &str, is_outside: bool) -> Vec<Option<i64>> {
        rules.of(scope, is_outside).map(|limit| limit.runs).collect()
    }

    #[test]
    fn the_own_budget_counts_then_the_one_for_each_then_the_default() {
        let budgets = vec![
            budget("channel:a", "hour", Some(5)),
            budget("channel:*", "day", Some(7)),
            budget("bot:b", "day", None),
        ];
        let rules = Rules::new(budgets, Vec::new(), DEFAULTS);
        assert_eq!(runs(&rules, "channel:a", true), [Some(5), Some(7)]);
        assert_eq!(runs(&rules, "channel:b", true), [Some(60), Some(7)]);
        assert_eq!(runs(&rules, "bot:b", true), [None]);
        assert_eq!(runs(&rules, "bot:c", true), [] as [Option<i64>; 0]);
        assert_eq!(runs(&rules, "integration:forge", true), [Some(200)]);
        assert_eq!(runs(&rules, "integration:api", false), [] as [Option<i64>; 0]);
    }

    #[test]
    fn a_window_begins_at_the_full_hour_or_at_midnight_in_utc() {
        assert_eq!((Period::Hour.since(49), Period::Day.since(49), Period::Day.since(48)), (49, 48, 48));
    }

    #[test]
    fn a_call_costs_what_its_tokens_cost_to_the_millionth_of_a_dollar() {
        let price = |model: &str, prompt, completion| Price {
            model: model.into(),
            prompt,
            completion,
            cached: None,
            cache_written: None,
        };
        let prices = vec![price("m", 1_250_000, 10_000_000), price("*", 500_000, 0)];
        let rules = Rules::new(Vec::new(), prices, DEFAULTS);
        let usage = Usage { prompt_tokens: 11, completion_tokens: 7, ..Usage::default() };
        let cost = |names: &[&str]| rules.cost(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>(), usage);
        assert_eq!(cost(&["m"]), 84, "13.75 + 70");
        assert_eq!(cost(&["there/m", "m"]), 84, "the model has no price at that provider");
        assert_eq!(cost(&["other"]), 6, "5.5");
        assert_eq!(Rules::default().cost(&["m".into()], usage), 0);
    }

    #[test]
    fn what_came_out_of_a_cache_or_went_into_one_has_its_own_price_if_one_is_given() {
        let plain =
            Price { model: "m".into(), prompt: 3_000_000, completion: 15_000_000, cached: None, cache_written: None };
        let own = Price { model: "n".into(), cached: Some(300_000), cache_written: Some(3_750_000), ..plain.clone() };
        let rules = Rules::new(Vec::new(), vec![plain, own], DEFAULTS);
        let usage = Usage { prompt_tokens: 2120, completion_tokens: 6, cached_tokens: 1920, cache_written_tokens: 188 };
        assert_eq!(rules.cost(&["m".into()], usage), 6450, "2120 * 3 + 6 * 15");
        assert_eq!(rules.cost(&["n".into()], usage), 1407, "12 * 3 + 1920 * 0.3 + 188 * 3.75 + 6 * 15");
    }
}
