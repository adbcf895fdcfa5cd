//! Long lists in pieces: `limit` and `cursor` in, the next cursor out in the `Link` header.

use super::{
    error::{Error, Result},
    request::Query,
};
use axum::{
    Json,
    extract::{FromRequestParts, OriginalUri},
    http::{HeaderValue, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use tercel_store::Uuid;

const USUAL: i64 = 50;
const MOST: i64 = 500;

/// Which piece of a list is wanted.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Piece {
    /// 1 to 500; 50 when absent.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<i64>,
    /// As the `Link` header of the piece before said.
    cursor: Option<String>,
}

pub struct Page {
    pub limit: i64,
    cursor: Option<String>,
    uri: Uri,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Query(piece) = Query::<Piece>::from_request_parts(parts, state).await?;
        let limit = piece.limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Error::invalid(format!("limit: it lies between 1 and {MOST}")));
        }
        let uri = parts.extensions.get::<OriginalUri>().map_or_else(|| parts.uri.clone(), |uri| uri.0.clone());
        Ok(Self { limit, cursor: piece.cursor.filter(|cursor| !cursor.is_empty()), uri })
    }
}

impl Page {
    /// The id after which this piece begins.
    pub fn after(&self) -> Result<Option<Uuid>> {
        self.parse()
    }

    /// The number before which this piece ends.
    pub fn before(&self) -> Result<Option<i64>> {
        self.parse()
    }

    pub fn text(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    fn parse<T: std::str::FromStr>(&self) -> Result<Option<T>> {
        let unknown = |_| Error::invalid("cursor: it must be one that the Link header of an earlier answer had");
        self.cursor.as_deref().map(|cursor| cursor.parse().map_err(unknown)).transpose()
    }

    /// How many rows to read: one more than are shown tells whether there are more.
    pub fn reach(&self) -> i64 {
        self.limit + 1
    }

    /// Cuts what was read to what is shown; answers it with the cursor of the next piece.
    pub fn cut<R>(&self, mut rows: Vec<R>, cursor: impl Fn(&R) -> String) -> (Vec<R>, Option<String>) {
        let limit = self.limit as usize;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(cursor);
        (rows, next)
    }

    pub fn list<T>(&self, items: Vec<T>, next: Option<String>) -> List<T> {
        List { items, link: next.map(|cursor| self.link(&cursor)) }
    }

    fn link(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let others = url::form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes());
        others.filter(|(key, _)| key != "cursor").for_each(|(key, value)| {
            query.append_pair(&key, &value);
        });
        query.append_pair("cursor", cursor);
        format!("<{}?{}>; rel=\"next\"", self.uri.path(), query.finish())
    }
}

pub struct List<T> {
    items: Vec<T>,
    link: Option<String>,
}

impl<T: Serialize> IntoResponse for List<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.items).into_response();
        if let Some(link) = self.link.and_then(|link| HeaderValue::try_from(link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_piece_keeps_the_filter_and_changes_the_cursor() {
        let uri = "/api/v1/tasks?status=failed&cursor=a&limit=2".parse().unwrap();
        let page = Page { limit: 2, cursor: None, uri };
        let (rows, next) = page.cut(vec![1, 2, 3], ToString::to_string);
        let link = page.list(rows, next).link.unwrap();
        assert_eq!(link, "</api/v1/tasks?status=failed&limit=2&cursor=2>; rel=\"next\"");
        assert_eq!(page.cut(vec![1, 2], ToString::to_string).1, None);
    }
}
