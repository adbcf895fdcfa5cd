//! GitHub's REST API: addresses, credentials, and failures that say what to do.

use super::{failure, repo::Repo};
use serde_json::Value;
use std::time::SystemTime;
use tercel_sdk::{
    Error, FromHost, Host, Kind, Result, Trust,
    http::{Builder, Method, Response},
};
use url::Url;

pub const PUBLIC_API: &str = "https://api.github.com";

const JSON: &str = "application/vnd.github+json";
const DIFF: &str = "application/vnd.github.diff";
const MAX_RESPONSE: usize = 8 << 20;

/// What the names of our places begin with.
pub const PLACE: &str = "github:";

/// A connection to GitHub. Without a token it reads what is public.
pub struct GitHub {
    host: Host,
    api: Url,
}

impl FromHost for GitHub {
    fn from_host(host: &Host) -> Result<Self> {
        let wrong = |why: String| {
            Error::schema(format!("The API address is not usable: {why}"))
                .hint(format!("It is {PUBLIC_API}, or https://<host>/api/v3 for GitHub Enterprise Server"))
        };
        let api = Url::parse(host.optional("api_url").unwrap_or(PUBLIC_API)).map_err(|e| wrong(e.to_string()))?;
        if api.cannot_be_a_base() {
            return Err(wrong("it has no host".into()));
        }
        Ok(Self { host: host.clone(), api })
    }
}

impl GitHub {
    pub fn host(&self) -> &Host {
        &self.host
    }

    pub fn repository<'a>(&'a self, repo: &'a Repo) -> Repository<'a> {
        Repository { github: self, repo }
    }

    /// The repository, unless a stranger could be the one who asks: a run that began with an event of one repository
    /// must not carry the content of another, perhaps private, one to where everybody reads it. Where the event came from
    /// counts, whatever channel it was bound to.
    pub fn for_tool<'a>(&'a self, repo: &'a Repo) -> Result<Repository<'a>> {
        let ids = self.host.ids();
        let places = ids.strangers.iter().map(String::as_str).chain(ids.client_id.as_deref());
        // Strangers of whom nobody knows where they are could be anybody's.
        let homes: Vec<&str> = places.filter(|place| place.is_empty() || place.starts_with(PLACE)).map(home).collect();
        let is_home = homes.iter().any(|home| repo.is(home));
        if self.host.trust() == Trust::Trusted || homes.is_empty() || is_home {
            return Ok(self.repository(repo));
        }
        let known: Vec<String> = homes.iter().filter(|home| !home.is_empty()).map(|home| format!("`{home}`")).collect();
        let message = match known.is_empty() {
            true => format!("Nobody knows where this conversation came from, and it may not use `{repo}`"),
            false => format!("This conversation is about {} and may not use `{repo}`", known.join(", ")),
        };
        Err(Error::new(Kind::Forbidden, message)
            .hint("Text from outside is part of this run. Ask a trusted person to look, in another channel"))
    }

    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response> {
        self.send(self.request(Method::GET, path, query, JSON)?).await
    }

    /// Sends a request whose token decides about its success.
    pub async fn get_authenticated(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response> {
        self.host.field("token")?;
        self.get(path, query).await
    }

    pub async fn delete(&self, path: &[&str]) -> Result<Response> {
        self.send(self.request(Method::DELETE, path, &[], JSON)?).await
    }

    async fn send(&self, request: Builder) -> Result<Response> {
        let answer = request.max_response(MAX_RESPONSE).send().await?;
        failure::check(answer, SystemTime::now())
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)], accept: &str) -> Result<Builder> {
        let url = address(&self.api, path)?;
        let mut request = self
            .host
            .http()
            .request(method, url)
            .header("accept", accept)
            .header("user-agent", "tercel")
            .header("x-github-api-version", "2022-11-28");
        if !query.is_empty() {
            request = request.query(query);
        }
        match self.host.optional("token") {
            Some(token) => Ok(request.bearer(token.trim())),
            None => Ok(request),
        }
    }
}

/// One repository, as the connection sees it. Paths are relative to it.
pub struct Repository<'a> {
    github: &'a GitHub,
    repo: &'a Repo,
}

impl Repository<'_> {
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response> {
        self.github.get(&self.repo.path(path), query).await
    }

    pub async fn get_diff(&self, path: &[&str]) -> Result<Response> {
        self.github.send(self.github.request(Method::GET, &self.repo.path(path), &[], DIFF)?).await
    }

    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Response> {
        self.github.host.field("token")?;
        self.github.send(self.github.request(Method::POST, &self.repo.path(path), &[], JSON)?.json(body)).await
    }

    pub async fn patch(&self, path: &[&str], body: &Value) -> Result<Response> {
        self.github.host.field("token")?;
        self.github.send(self.github.request(Method::PATCH, &self.repo.path(path), &[], JSON)?.json(body)).await
    }

    pub async fn delete(&self, path: &[&str]) -> Result<Response> {
        self.github.host.field("token")?;
        self.github.send(self.github.request(Method::DELETE, &self.repo.path(path), &[], JSON)?).await
    }
}

/// The number of the page that the `Link` header names `rel`.
pub fn page(response: &Response, rel: &str) -> Option<u32> {
    link(response, rel, "page")?.parse().ok()
}

/// A part of the query of the address that the `Link` header names `rel`.
pub fn link(response: &Response, rel: &str, part: &str) -> Option<String> {
    let link = response.header("link")?.split(',').find(|link| link.contains(&format!("rel=\"{rel}\"")))?;
    let target = link.trim().strip_prefix('<')?.split_once('>')?.0;
    let url = Url::parse(target).ok()?;
    url.query_pairs().find(|(key, _)| key == part).map(|(_, value)| value.into_owned())
}

fn home(place: &str) -> &str {
    place.strip_prefix(PLACE).unwrap_or_default()
}

fn address(api: &Url, path: &[&str]) -> Result<Url> {
    if path.iter().any(|segment| matches!(*segment, "" | "." | "..")) {
        return Err(Error::schema("A path must not have empty, `.` or `..` parts"));
    }
    let mut url = api.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tercel_sdk::testing::respond;

    #[test]
    fn a_segment_stays_a_segment() {
        let api = Url::parse("https://ghe.example/api/v3/").unwrap();
        let url = address(&api, &["repos", "o", "h", "contents", "a b", "c%2Fd?#"]).unwrap();
        assert_eq!(url.as_str(), "https://ghe.example/api/v3/repos/o/h/contents/a%20b/c%252Fd%3F%23");
        for bad in ["..", ".", ""] {
            assert!(address(&api, &["repos", bad]).is_err());
        }
    }

    #[test]
    fn pages_are_read_from_the_link_header() {
        let link = r#"<https://api.github.com/x?per_page=30&page=2>; rel="next", <https://api.github.com/x?per_page=30&page=7>; rel="last""#;
        let answer = respond(200, &[("link", link)], "[]");
        assert_eq!((page(&answer, "next"), page(&answer, "last"), page(&answer, "prev")), (Some(2), Some(7), None));
        assert_eq!(page(&respond(200, &[("link", "nonsense; rel=\"next\"")], ""), "next"), None);
    }
}
