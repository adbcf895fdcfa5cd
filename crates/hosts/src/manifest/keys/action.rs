//! A request, as every part writes it.

use super::{
    http::Otherwise,
    place::{At, Entries},
    text::{Expr, Json, Text},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// A request, whatever part it belongs to.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Exactly one of them, as is checked later.
    pub methods: Vec<(&'static str, &'a Text)>,
    pub query: &'a Entries<Json>,
    pub headers: &'a Entries<Json>,
    pub json: Option<&'a Json>,
    pub form: Option<&'a Entries<Json>>,
    pub text: Option<&'a Text>,
    pub xml: Option<&'a Text>,
    pub ical: Option<&'a Text>,
    pub ok: Option<&'a Expr>,
    pub otherwise: Option<&'a Otherwise>,
    pub before: &'a [Before],
    pub idempotency: Option<&'a At<String>>,
}

/// Makes a struct with the keys of a request beside its own. Serde cannot flatten one into the other and refuse keys that
/// neither has.
macro_rules! action {
    (
        $(#[$about:meta])*
        pub struct $name:ident { $($(#[$own:meta])* pub $field:ident: $type:ty,)* }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$own])* pub $field: $type,)*
            /// The path on `http.base`, or a whole address.
            pub get: Option<$crate::manifest::keys::Text>,
            /// The path on `http.base`, or a whole address.
            pub post: Option<$crate::manifest::keys::Text>,
            /// The path on `http.base`, or a whole address.
            pub put: Option<$crate::manifest::keys::Text>,
            /// The path on `http.base`, or a whole address.
            pub patch: Option<$crate::manifest::keys::Text>,
            /// The path on `http.base`, or a whole address.
            pub delete: Option<$crate::manifest::keys::Text>,
            /// WebDAV: the path on `http.base`, or a whole address.
            pub propfind: Option<$crate::manifest::keys::Text>,
            /// WebDAV: the path on `http.base`, or a whole address.
            pub report: Option<$crate::manifest::keys::Text>,
            /// WebDAV: the path on `http.base`, or a whole address.
            pub mkcol: Option<$crate::manifest::keys::Text>,
            /// Parameters of the address; a list is the same name several times, a null is left out.
            #[serde(default)]
            pub query: $crate::manifest::keys::Entries<$crate::manifest::keys::Json>,
            /// Headers; a null is left out.
            #[serde(default)]
            pub headers: $crate::manifest::keys::Entries<$crate::manifest::keys::Json>,
            /// The body, as JSON.
            pub json: Option<$crate::manifest::keys::Json>,
            /// The body, as a form.
            pub form: Option<$crate::manifest::keys::Entries<$crate::manifest::keys::Json>>,
            /// The body, as text.
            pub text: Option<$crate::manifest::keys::Text>,
            /// The body, as XML: values are text in it.
            pub xml: Option<$crate::manifest::keys::Text>,
            /// The body, as iCalendar: values are those of properties, and one without a value is left out.
            pub ical: Option<$crate::manifest::keys::Text>,
            /// Whether it worked; without this every 2xx did.
            pub ok: Option<$crate::manifest::keys::Expr>,
            /// What it means when the service took the request, and `ok` does not hold.
            pub otherwise: Option<$crate::manifest::keys::Otherwise>,
            /// Requests that are made first; the answer of one is `before.<as>`.
            #[serde(default)]
            pub before: Vec<$crate::manifest::keys::Before>,
            /// The header by which the service knows a repetition: `Idempotency-Key`.
            pub idempotency: Option<$crate::manifest::keys::At<String>>,
        }

        impl $name {
            /// What it asks for; `None` when it has no request of its own.
            pub fn request(&self) -> Option<$crate::manifest::keys::Request<'_>> {
                let methods = [
                    ("GET", &self.get),
                    ("POST", &self.post),
                    ("PUT", &self.put),
                    ("PATCH", &self.patch),
                    ("DELETE", &self.delete),
                    ("PROPFIND", &self.propfind),
                    ("REPORT", &self.report),
                    ("MKCOL", &self.mkcol),
                ];
                let methods: Vec<_> =
                    methods.into_iter().filter_map(|(method, url)| Some((method, url.as_ref()?))).collect();
                let has_more = self.json.is_some()
                    || self.form.is_some()
                    || self.text.is_some()
                    || self.xml.is_some()
                    || self.ical.is_some()
                    || self.ok.is_some()
                    || self.otherwise.is_some()
                    || self.idempotency.is_some()
                    || !(self.before.is_empty() && self.query.0.is_empty() && self.headers.0.is_empty());
                (!methods.is_empty() || has_more).then(|| $crate::manifest::keys::Request {
                    methods,
                    query: &self.query,
                    headers: &self.headers,
                    json: self.json.as_ref(),
                    form: self.form.as_ref(),
                    text: self.text.as_ref(),
                    xml: self.xml.as_ref(),
                    ical: self.ical.as_ref(),
                    ok: self.ok.as_ref(),
                    otherwise: self.otherwise.as_ref(),
                    before: &self.before,
                    idempotency: self.idempotency.as_ref(),
                })
            }
        }
    };
}

action! {
    /// A request that is made before another.
    pub struct Before {
        /// What templates call its answer: `before.<as>.json`.
        #[serde(rename = "as")]
        pub name: At<String>,
        /// What is looked for in its answer, as `before.<as>.found`; where there is none, it did not work.
        pub found: Option<Expr>,
    }
}

action! {
    /// A request of which nothing is kept.
    pub struct Plain {}
}

action! {
    /// A test of the connection.
    pub struct Test {
        /// How much it proves.
        #[serde(default)]
        pub depth: Depth,
        /// Who the credentials belong to, for people to read.
        pub account: Option<Expr>,
        /// The same as nobody else at the service can be called: by it whoever agrees again is told from others.
        pub account_id: Option<Expr>,
    }
}

/// How much a test proves.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    Presence,
    #[default]
    Auth,
    Target,
    Write,
}

/// How the next page is asked for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    /// What the answer says of the next page; null when there is none.
    pub next: Expr,
    /// Where that goes: `query.<name>`, `json.<name>` or `url`.
    pub into: At<String>,
    /// How many pages are asked for at the most.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 100))]
    pub max: At<u32>,
}

fn ten() -> At<u32> {
    At { value: 10, at: serde_saphyr::Location::UNKNOWN }
}

pub(crate) use action;
