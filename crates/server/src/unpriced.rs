//! Models that nobody gave a price, where a budget counts money: their calls would pass it unseen.

use crate::{app::App, budgets::Whose};
use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};
use tercel_sdk::chat::Usage;
use tercel_store::{NewNotice, Notice};

const NOTICE: &str = "unpriced:";

/// Models that people were told of.
#[derive(Default)]
pub struct Unpriced(Mutex<BTreeSet<String>>);

impl Unpriced {
    /// Those that open notices are about.
    pub fn among(open: &[Notice]) -> Self {
        let unpriced = Self::default();
        unpriced.read(open);
        unpriced
    }

    pub fn read(&self, open: &[Notice]) {
        let models = open.iter().filter_map(|notice| Some(notice.key.strip_prefix(NOTICE)?.to_owned()));
        *self.lock() = models.collect();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// Tells once of each model without a price that was paid for under a budget of money.
pub async fn look(app: &App, whose: &Whose<'_>, spent: &[(String, Usage)]) {
    let rules = app.ceilings.rules();
    if spent.is_empty() || !rules.count_money() {
        return;
    }
    let counters = whose.counters();
    let limits = counters.iter().flat_map(|scope| rules.of(scope, whose.is_outside));
    let Some(limit) = limits.into_iter().find(|limit| limit.cost.is_some()) else { return };
    for (model, _) in spent {
        if rules.is_priced(&app.providers.names(model)) || !app.ceilings.unpriced.lock().insert(model.clone()) {
            continue;
        }
        let detail = format!("A budget of `{}` counts money, and calls of `{model}` are counted as 0", limit.scope);
        app.raise(NewNotice {
            key: format!("{NOTICE}{model}"),
            severity: "warning",
            title: format!("Nobody said what the model `{model}` costs"),
            detail,
            repair: Some("PUT /api/v1/usage/prices with its price; 0 for one that costs nothing".into()),
        })
        .await;
    }
}

/// After a change of prices or budgets: closes what is over.
pub async fn look_again(app: &App) {
    let rules = app.ceilings.rules();
    let is_over = |model: &String| !rules.count_money() || rules.is_priced(&app.providers.names(model));
    let over: Vec<String> = app.ceilings.unpriced.lock().iter().filter(|model| is_over(model)).cloned().collect();
    for model in over {
        app.ceilings.unpriced.lock().remove(&model);
        app.close_notice(&format!("{NOTICE}{model}")).await;
    }
}
