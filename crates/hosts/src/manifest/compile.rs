//! From the keys of a manifest to parts that can be called: everything is looked at, and everything wrong is told.

use super::{
    call::{Action, Address, Body, Into, Meaning, Pages, Start, hosts::Hosts},
    keys::{At, Entries, Expr, Field, FieldKind, Json, Keys, Otherwise, Request, Text, problem},
    template::{Engine, Expression, Names, Shape, Template},
};
use crate::Problem;
use http::{HeaderName, Method};
use serde_saphyr::Location;
use std::collections::BTreeSet;
use url::Url;

/// How often what reads is asked for.
const ATTEMPTS: u32 = 3;
/// Requests before another.
const MOST_BEFORE: usize = 4;
const METHODS: &str = "A request needs one of get, post, put, patch, delete, propfind, report and mkcol";

pub struct Compiler<'a> {
    pub id: &'a str,
    pub keys: &'a Keys,
    pub engine: Engine,
    pub problems: Vec<Problem>,
    /// Hosts that are written in the manifest.
    pub hosts: BTreeSet<String>,
}

impl<'a> Compiler<'a> {
    pub fn new(id: &'a str, keys: &'a Keys) -> Self {
        Self { id, keys, engine: Engine::new(), problems: Vec::new(), hosts: BTreeSet::new() }
    }

    pub fn wrong(&mut self, at: Location, message: impl AsRef<str>) {
        self.problems.push(problem(at, message.as_ref()));
    }

    fn all_wrong(&mut self, at: Location, words: &[String]) {
        words.iter().for_each(|words| self.wrong(at, words));
    }

    pub fn field(&self, key: &str) -> Option<&'a Field> {
        self.keys.fields.iter().find(|field| field.key.value == key)
    }

    /// A field that is named; `None` when there is none.
    pub fn named(&mut self, key: &At<String>) -> Option<String> {
        if self.field(&key.value).is_some() {
            return Some(key.value.clone());
        }
        let known = self.keys.fields.iter().map(|field| field.key.value.as_str());
        let near = super::keys::nearest(&key.value, known);
        let meant = near.map_or_else(String::new, |near| format!("; is `{near}` meant?"));
        self.wrong(key.at, format!("There is no field `{}`{meant}", key.value));
        None
    }

    /// A field that is named and holds a secret.
    pub fn secret(&mut self, key: &At<String>) -> Option<String> {
        let name = self.named(key)?;
        if !self.field(&name).is_some_and(Field::is_secret) {
            self.wrong(key.at, format!("The field `{name}` is to hold a secret: give it `type: password`"));
        }
        Some(name)
    }

    /// Names that every text can use.
    pub fn names(&self) -> Names {
        let keys = |secret: bool| {
            let fields = self.keys.fields.iter().filter(move |field| field.is_secret() == secret);
            fields.map(|field| field.key.value.clone()).collect::<Vec<_>>()
        };
        Names::default()
            .only("fields", keys(false))
            .only("secrets", keys(true))
            .only("connection", ["name", "account"])
            .only("now", ["unix", "date"])
    }

    pub fn text(&mut self, text: &Text, names: &Names) -> Option<Template> {
        let made = self.engine.template(&text.source, names);
        made.map_err(|words| self.all_wrong(text.at, &words)).ok()
    }

    pub fn expr(&mut self, expr: &Expr, names: &Names) -> Option<Expression> {
        let names = names.clone().without("secrets");
        let made = self.engine.expression(&expr.source, &names);
        made.map_err(|words| self.all_wrong(expr.at, &words)).ok()
    }

    pub fn maybe(&mut self, expr: Option<&Expr>, names: &Names) -> Option<Expression> {
        self.expr(expr?, names)
    }

    pub fn json(&mut self, json: &Json, names: &Names) -> Shape {
        match json {
            Json::Fixed(value) => Shape::Fixed(value.clone()),
            Json::Text(text) => self.typed(text, names),
            Json::List(list) => Shape::List(list.iter().map(|item| self.json(item, names)).collect()),
            Json::Map(map) => Shape::Map(self.entries(map, names)),
        }
    }

    fn typed(&mut self, text: &Text, names: &Names) -> Shape {
        if let Some(source) = Engine::only(&text.source) {
            let made = self.engine.expression(source, names);
            let made = made.map_err(|words| self.all_wrong(text.at, &words)).ok();
            return made.map_or(Shape::Fixed(serde_json::Value::Null), Shape::Typed);
        }
        if !text.source.contains("{{") && !text.source.contains("{%") && !text.source.contains("{#") {
            return Shape::Fixed(text.source.clone().into());
        }
        self.text(text, names).map_or(Shape::Fixed(serde_json::Value::Null), Shape::Text)
    }

    pub fn entries(&mut self, entries: &Entries<Json>, names: &Names) -> Vec<(String, Shape)> {
        entries.0.iter().map(|(key, value)| (key.clone(), self.json(value, names))).collect()
    }

    pub fn headers(&mut self, headers: &Entries<Json>, names: &Names, at: Location) -> Vec<(HeaderName, Shape)> {
        let mut made = Vec::new();
        for (name, value) in &headers.0 {
            if matches!(value, Json::List(_) | Json::Map(_)) {
                self.wrong(at, format!("The header `{name}` can only have text"));
            }
            let value = self.json(value, names);
            made.extend(self.header(name, at).map(|name| (name, value)));
        }
        made
    }

    pub fn header(&mut self, name: &str, at: Location) -> Option<HeaderName> {
        let made = HeaderName::try_from(name);
        if made.is_err() {
            self.wrong(at, format!("`{name}` cannot be the name of a header"));
        }
        made.ok()
    }

    /// A request. `names` are those that its texts can use, beside those of its own.
    pub fn action(&mut self, request: &Request<'_>, names: &Names, attempts: Attempts) -> Option<Action> {
        let Some((method, url)) = request.methods.first() else {
            let at = request.ok.map(|ok| ok.at).or(request.text.map(|text| text.at));
            self.wrong(at.unwrap_or(Location::UNKNOWN), METHODS);
            return None;
        };
        if let Some((other, second)) = request.methods.get(1) {
            let (method, other) = (method.to_lowercase(), other.to_lowercase());
            self.wrong(second.at, format!("A request has one of `{method}` and `{other}`"));
        }
        let at = url.at;
        if request.before.len() > MOST_BEFORE {
            self.wrong(at, format!("At most {MOST_BEFORE} requests can be made before another"));
        }
        let mut known = Vec::new();
        let mut before = Vec::new();
        for one in request.before {
            let own = names.clone().only("before", known.clone());
            if known.contains(&one.name.value) {
                self.wrong(one.name.at, format!("There are two requests `{}`", one.name.value));
            }
            known.push(one.name.value.clone());
            match one.request() {
                Some(request) if request.before.is_empty() => {
                    let request = Request { ok: request.ok.or(one.found.as_ref()), ..request };
                    let action = self.action(&request, &own, attempts);
                    let found = self.maybe(one.found.as_ref(), &own.answered());
                    before.extend(action.map(|action| (one.name.value.clone(), Action { found, ..action })));
                }
                Some(_) => self.wrong(one.name.at, "A request that is made before another has none before itself"),
                None => self.wrong(one.name.at, METHODS),
            }
        }
        let names = match known.is_empty() {
            true => names.clone(),
            false => names.clone().only("before", known),
        };
        let method = Method::from_bytes(method.as_bytes()).expect("it is one of those that can be written");
        let body = self.body(request, &names, &method, at);
        let answered = names.clone().answered();
        Some(Action {
            address: self.address(url, &names)?,
            query: self.entries(request.query, &names),
            headers: self.headers(request.headers, &names, at),
            body,
            ok: self.maybe(request.ok, &answered),
            otherwise: request.otherwise.and_then(|otherwise| self.otherwise(otherwise, request, &answered)),
            before,
            found: None,
            idempotency: request.idempotency.and_then(|name| self.header(&name.value, name.at)),
            attempts: if attempts == Attempts::Several { ATTEMPTS } else { 1 },
            method,
        })
    }

    fn body(&mut self, request: &Request<'_>, names: &Names, method: &Method, at: Location) -> Body {
        let xml = request.xml.map(|xml| {
            let made = self.engine.xml(&xml.source, names);
            made.map_err(|words| self.all_wrong(xml.at, &words)).map_or(Body::None, Body::Xml)
        });
        let calendar = request.ical.map(|ical| {
            let made = self.engine.calendar(&ical.source, names);
            made.map_err(|words| self.all_wrong(ical.at, &words)).map_or(Body::None, Body::Calendar)
        });
        let bodies = [
            request.json.map(|json| Body::Json(self.json(json, names))),
            request.form.map(|form| Body::Form(self.entries(form, names))),
            request.text.map(|text| self.text(text, names).map_or(Body::None, Body::Text)),
            xml,
            calendar,
        ];
        let mut bodies = bodies.into_iter().flatten();
        let body = bodies.next();
        if bodies.next().is_some() {
            self.wrong(at, "A request has one body: `json`, `form`, `text`, `xml` or `ical`");
        }
        if method == Method::GET && body.is_some() {
            self.wrong(at, "A GET has no body");
        }
        body.unwrap_or(Body::None)
    }

    fn otherwise(&mut self, keys: &Otherwise, request: &Request<'_>, names: &Names) -> Option<Meaning> {
        if request.ok.is_none() {
            self.wrong(keys.message.at, "`otherwise` is for when `ok` does not hold, and there is no `ok`");
        }
        let message = self.text(&keys.message, &names.clone().without("secrets"))?;
        Some(Meaning { kind: keys.code.into(), message: Some(message), hint: keys.hint.clone() })
    }

    /// The address of a request: a path on the base, or a whole one.
    pub fn address(&mut self, text: &Text, names: &Names) -> Option<Address> {
        let source = text.source.trim();
        if source.is_empty() || source.starts_with(['/', '?']) {
            if self.keys.http.base.is_none() {
                self.wrong(text.at, "A path needs `http.base`, which it is put behind");
            }
            return Some(Address { start: Start::Base, rest: self.rest(source, text.at, names) });
        }
        if let Some(found) = Engine::only(source).and_then(found) {
            let expr = Expr { source: found.to_owned(), at: text.at };
            return Some(Address { start: Start::Found(self.expr(&expr, names)?), rest: None });
        }
        self.whole(source, text.at, names)
    }

    /// An address that begins with its host.
    fn whole(&mut self, source: &str, at: Location, names: &Names) -> Option<Address> {
        if let Some((key, rest)) = begins_with_field(source) {
            let key = self.named(&At { value: key.to_owned(), at })?;
            if !(rest.is_empty() || rest.starts_with(['/', '?'])) {
                self.wrong(at, "Behind the field that an address begins with, there is `/`, `?` or nothing");
                return None;
            }
            return Some(Address { start: Start::Field(key), rest: self.rest(rest, at, names) });
        }
        let after = source.strip_prefix("https://").or_else(|| source.strip_prefix("http://"));
        let Some(after) = after else {
            let words = "An address begins with `/`, with `https://` or with a field: `{{ fields.url }}`";
            self.wrong(at, words);
            return None;
        };
        let end = source.len() - after.len() + after.find(['/', '?']).unwrap_or(after.len());
        let (host, rest) = source.split_at(end);
        match Url::parse(host) {
            Ok(url) if !host.contains('{') => {
                self.hosts.extend(url.host_str().map(str::to_owned));
                Some(Address { start: Start::Written(host.to_owned()), rest: self.rest(rest, at, names) })
            }
            _ => {
                self.wrong(at, "The host of an address is written out, or comes from `http.base` or a field");
                None
            }
        }
    }

    fn rest(&mut self, rest: &str, at: Location, names: &Names) -> Option<Template> {
        if rest.is_empty() {
            return None;
        }
        let made = self.engine.url(rest, names);
        made.map_err(|words| self.all_wrong(at, &words)).ok()
    }

    /// `http.base`: it stays whole.
    pub fn base(&mut self) -> Option<Address> {
        let text = self.keys.http.base.as_ref()?;
        let names = self.names();
        let source = text.source.trim();
        if source.contains(['?', '#']) {
            self.wrong(text.at, "`http.base` has no query: paths are put behind it");
        }
        let is_plain = begins_with_field(source).is_some() || !source.contains("{{");
        if is_plain {
            return self.whole(source, text.at, &names);
        }
        if !(source.starts_with("https://") || source.starts_with("http://")) {
            self.wrong(text.at, "`http.base` begins with `https://` or with a field: `{{ fields.url }}`");
        }
        let start = Start::Whole(self.text(text, &names)?);
        Some(Address { start, rest: None })
    }

    pub fn pages(
        &mut self,
        pages: Option<&super::keys::Pages>,
        names: &Names,
        action: Option<&Action>,
    ) -> Option<Pages> {
        let pages = pages?;
        if !(1..=100).contains(&pages.max.value) {
            self.wrong(pages.max.at, "`max` is between 1 and 100 pages");
        }
        let into = match pages.into.value.split_once('.') {
            Some(("query", name)) if !name.is_empty() => Some(Into::Query(name.into())),
            Some(("json", name)) if !name.is_empty() => Some(Into::Json(name.into())),
            None if pages.into.value == "url" => Some(Into::Url),
            _ => None,
        };
        if into.is_none() {
            self.wrong(pages.into.at, "The next page goes into `query.<name>`, `json.<name>` or `url`");
        }
        if matches!((&into, action), (Some(Into::Json(_)), Some(action)) if !matches!(action.body, Body::Json(_))) {
            self.wrong(pages.into.at, "`json.<name>` needs a request with `json`");
        }
        Some(Pages { next: self.expr(&pages.next, names)?, into: into?, max: pages.max.value })
    }

    /// The hosts that it may call.
    pub fn granted(&mut self) -> Hosts {
        for field in self.keys.fields.iter().filter(|field| field.kind == FieldKind::Url) {
            let default = field.default.as_ref().and_then(|default| default.as_str());
            let host = default.and_then(|url| Url::parse(url).ok()?.host_str().map(str::to_owned));
            self.hosts.extend(host);
        }
        let further = self.keys.permissions.hosts.iter().map(|host| host.value.clone());
        Hosts { named: self.hosts.iter().cloned().chain(further).collect() }
    }
}

/// How often a request may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempts {
    /// Whoever asks for it comes again.
    One,
    Several,
}

/// `{{ fields.url }}` or `{{ secrets.url }}` and what follows.
fn begins_with_field(source: &str) -> Option<(&str, &str)> {
    let (inner, rest) = source.strip_prefix("{{")?.split_once("}}")?;
    let inner = inner.trim();
    let key = inner.strip_prefix("fields.").or_else(|| inner.strip_prefix("secrets."))?;
    let is_name = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((key, rest))
}

/// `x | url`
fn found(expression: &str) -> Option<&str> {
    let (inner, filter) = expression.rsplit_once('|')?;
    (filter.trim() == "url").then_some(inner)
}
