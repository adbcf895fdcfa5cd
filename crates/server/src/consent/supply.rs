//! The tokens of a call: by what a person agreed to, else by what the connection has.

use super::{Consent, is_needed, renew};
use crate::{app::App, tokens::Supply};
use futures::future::BoxFuture;
use std::sync::Arc;
use tercel_sdk::{
    Result,
    grant::{Grant, OAuth, Tokens},
};

pub struct Granted {
    pub app: Arc<App>,
    pub supply: Supply,
    /// A consent that is not saved yet.
    pub draft: Option<Arc<Consent>>,
}

impl Granted {
    fn agreed(&self) -> Result<Option<OAuth>> {
        Ok(match self.supply.grant()? {
            Grant::OAuth(oauth) if is_needed(&oauth) && !self.supply.rehearses => Some(oauth),
            _ => None,
        })
    }
}

impl Tokens for Granted {
    fn access(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(async move {
            match (self.agreed()?, &self.draft) {
                (None, _) => self.supply.access().await,
                (Some(_), Some(draft)) => Ok(draft.access.clone()),
                (Some(oauth), None) => renew::access(&self.app, &self.supply.host, &oauth).await,
            }
        })
    }

    fn refused<'a>(&'a self, token: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match (self.agreed(), &self.draft) {
                (Ok(None), _) => self.supply.refused(token).await,
                (Ok(Some(_)), None) => renew::refused(&self.app, &self.supply.host, token).await,
                _ => {}
            }
        })
    }
}
