//! The test of a connection.

use crate::manifest::{
    call::{Action, Shared},
    compile::{Attempts, Compiler},
    keys,
    template::{Expression, json},
};
use std::sync::Arc;
use tercel_sdk::{Checked, Depth, Handler};

pub struct Test {
    depth: Depth,
    /// None: that the fields have values is all that can be said.
    action: Option<Action>,
    account: Option<Expression>,
    account_id: Option<Expression>,
}

pub fn compile(c: &mut Compiler) -> Option<Test> {
    let test = c.keys.test.as_ref()?;
    let names = c.names();
    let depth = match test.depth {
        keys::Depth::Presence => Depth::Presence,
        keys::Depth::Auth => Depth::Auth,
        keys::Depth::Target => Depth::Target,
        keys::Depth::Write => Depth::Write,
    };
    let action = match test.request() {
        Some(request) => Some(c.action(&request, &names, Attempts::Several)?),
        None if depth == Depth::Presence => None,
        None => {
            let at = c.keys.name.at;
            c.wrong(at, "`test` needs a request; without one its `depth` is `presence`");
            return None;
        }
    };
    let mut answered = names.answered();
    if let Some(action) = action.as_ref().filter(|action| !action.before.is_empty()) {
        answered = answered.only("before", action.before.iter().map(|(name, _)| name.clone()));
    }
    let [account, account_id] = [&test.account, &test.account_id].map(|whose| c.maybe(whose.as_ref(), &answered));
    Some(Test { depth, action, account, account_id })
}

pub fn part(service: Shared, test: Test) -> Handler {
    let test = Arc::new(test);
    Arc::new(move |host, _| {
        let (service, test) = (service.clone(), test.clone());
        Box::pin(async move {
            let mut scope = service.scope(&host);
            if let Some(action) = &test.action {
                let answer = service.act(&host, action, &mut scope, &Default::default()).await?;
                // Some other page than the service's is no answer of it.
                for whose in [&test.account, &test.account_id].into_iter().flatten() {
                    answer.must_be(whose.reads)?;
                }
            }
            let text = |whose: &Option<Expression>| {
                let text = whose.as_ref().map(|whose| service.engine.text_of(whose, &scope)).transpose();
                text.map(Option::flatten)
            };
            let (account, account_id) = (text(&test.account)?, text(&test.account_id)?);
            let message = match test.action {
                Some(_) => "The service answers, and knows the credentials",
                None => "The fields have values; the service was not asked",
            };
            let checked = Checked { depth: test.depth, account, account_id, message: message.into() };
            json(&crate::manifest::template::value(&serde_json::to_value(checked)?))
        })
    })
}
