//! Lists that a service gives page by page.

use super::{Action, Answer, Service, action::Turned};
use crate::manifest::template::{Expression, Scope, Value, json};
use tercel_sdk::{Error, Host, Result};
use url::Url;

/// How the next page is asked for.
#[derive(Debug, Clone)]
pub struct Pages {
    pub next: Expression,
    pub into: Into,
    pub max: u32,
}

#[derive(Debug, Clone)]
pub enum Into {
    Query(String),
    Json(String),
    Url,
}

/// Everything that was on the pages.
pub struct Paged {
    pub items: Vec<Value>,
    /// Of the last page.
    pub answer: Answer,
}

/// Items of all pages together.
const MOST: usize = 10_000;

impl Service {
    /// Asks for a list, page by page if there are pages. The scope has the last answer as `response` afterwards.
    pub async fn list(
        &self,
        host: &Host,
        action: &Action,
        items: Option<&Expression>,
        pages: Option<&Pages>,
        scope: &mut Scope,
    ) -> Result<Paged> {
        let mut all = Vec::new();
        let mut turned = Turned::default();
        let mut seen = Vec::new();
        for page in 1.. {
            let answer = self.act(host, action, scope, &turned).await?;
            if let Some(items) = items {
                all.extend(self.items(items, scope, &answer)?);
            }
            if all.len() > MOST {
                return Err(Error::schema(format!("The service answered more than {MOST} items")));
            }
            let next = match pages.filter(|pages| page < pages.max) {
                Some(pages) => self.pick(&pages.next, scope, &answer)?,
                None => Value::UNDEFINED,
            };
            let Some(pages) = pages.filter(|_| next.is_true()) else { return Ok(Paged { items: all, answer }) };
            let text = next.to_string();
            if seen.contains(&text) {
                return Err(Error::schema("The service names a page as the next that it gave before"));
            }
            turned = match &pages.into {
                Into::Query(name) => Turned { query: Some((name.clone(), text.clone())), ..Turned::default() },
                Into::Json(key) => Turned { json: Some((key.clone(), json(&next)?)), ..Turned::default() },
                Into::Url => Turned { url: Some(self.next_page(host, action, scope, &text)?), ..Turned::default() },
            };
            seen.push(text);
        }
        unreachable!("the last page ends the loop")
    }

    /// An address on the host of the first page, and nowhere else.
    fn next_page(&self, host: &Host, action: &Action, scope: &Scope, next: &str) -> Result<Url> {
        let vault = self.vault(host);
        let inside = scope.clone().with("secrets", vault.value());
        let first = self.address(host, &action.address, &inside, &vault)?;
        let url = first.join(next).map_err(|error| Error::schema(format!("The next page is no address: {error}")))?;
        match url.origin() == first.origin() {
            true => Ok(url),
            false => Err(Error::schema("The service names a next page that lies on another host")),
        }
    }
}
