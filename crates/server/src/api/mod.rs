//! The HTTP interface: every route, who may use it, and what stands before all of them.

pub mod attachments;
mod auth;
pub mod backup;
pub mod bindings;
pub mod bots;
pub mod budgets;
pub mod channels;
pub mod chat;
pub mod completions;
pub mod connections;
pub mod deliveries;
mod document;
pub mod documents;
mod during;
pub mod egress;
mod error;
pub mod events;
pub mod features;
pub mod folders;
mod follow;
pub mod forms;
pub mod health;
pub mod held;
pub mod hooks;
pub mod integrations;
pub mod keys;
pub mod log;
pub mod messages;
pub mod metrics;
mod multipart;
pub mod notice_target;
pub mod notices;
pub mod oauth;
pub mod outbox;
mod outer;
mod page;
pub mod processes;
pub mod providers;
mod rate;
mod readiness;
pub mod records;
mod request;
pub mod routes;
pub mod schedules;
pub mod sealing;
pub mod sessions;
pub mod settings;
pub mod syncs;
mod target;
pub mod tasks;
pub mod time;
pub mod tools;
pub mod usage;
pub mod webhooks;

#[cfg(test)]
mod tests;

pub use auth::{Access, Identity, Scopes};
pub use document::openapi;
pub use request::no_such;

use self::{
    auth::{ANY, Gate, Operator, guard},
    error::{Error, Result},
};
use crate::app::App;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Method, Uri},
    middleware::{from_fn, from_fn_with_state},
    routing::{MethodFilter, MethodRouter, on},
};
use serde_json::Value;
use std::sync::Arc;
use tercel_store::Uuid;
use tower::util::MapRequest;
use utoipa_axum::router::UtoipaMethodRouter;

/// The whole server.
pub fn router(app: Arc<App>) -> Router {
    build(&app, table())
}

/// The same router with every request counted as the operator's: for the socket in the data directory.
pub fn for_operator(router: Router) -> Router {
    Router::new().fallback_service(MapRequest::new(router, |mut request: Request| {
        request.extensions_mut().insert(Operator);
        request
    }))
}

/// All below `/integrations/`: what services send, and the pages and routes of folders.
pub fn webhook_router(app: Arc<App>) -> Router {
    let inbound = table().into_iter().filter(|row| row.route.path.starts_with("/integrations/")).collect();
    build(&app, inbound)
}

/// A route as it is open to keys with a scope, or, without one, to everybody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    pub scope: Option<&'static str>,
}

pub fn routes() -> Vec<Route> {
    table().into_iter().map(|row| row.route).collect()
}

struct Row {
    route: Route,
    /// Open to keys of folders.
    folders: bool,
    /// Answers as long as it likes.
    streams: bool,
    handler: Handler,
}

/// What answers, and what is said of it. The words are large, and made for whoever asks for them only.
struct Handler {
    serve: fn(MethodFilter) -> MethodRouter<Arc<App>>,
    document: fn() -> UtoipaMethodRouter<Arc<App>>,
}

macro_rules! handler {
    ($handler:path) => {
        Handler { serve: |method| on(method, $handler), document: || utoipa_axum::routes!($handler) }
    };
}

fn table() -> Vec<Row> {
    const GET: &str = "GET";
    const POST: &str = "POST";
    const PUT: &str = "PUT";
    const PATCH: &str = "PATCH";
    const DELETE: &str = "DELETE";
    const OPTIONS: &str = "OPTIONS";
    #[rustfmt::skip]
    let rows = vec![
        open(GET, "/health", handler!(health::health)),
        open(GET, "/ready", handler!(health::ready)),
        open(GET, "/openapi.json", handler!(document::show)),
        // The code of a folder takes its own time.
        Row { streams: true, ..open(POST, "/integrations/{id}/webhook", handler!(webhooks::take)) },
        Row { streams: true, ..open(POST, "/integrations/{id}/c/{connection}/webhook", handler!(webhooks::take_for)) },
        Row { streams: true, ..open(GET, "/integrations/{id}/{*path}", handler!(routes::get)) },
        Row { streams: true, ..open(POST, "/integrations/{id}/{*path}", handler!(routes::post)) },
        Row { streams: true, ..open(PUT, "/integrations/{id}/{*path}", handler!(routes::put)) },
        Row { streams: true, ..open(PATCH, "/integrations/{id}/{*path}", handler!(routes::patch)) },
        Row { streams: true, ..open(DELETE, "/integrations/{id}/{*path}", handler!(routes::delete)) },
        Row { streams: true, ..open(OPTIONS, "/integrations/{id}/{*path}", handler!(routes::options)) },
        Row { streams: true, ..open(GET, "/integrations/{id}/", handler!(routes::get_root)) },
        Row { streams: true, ..open(POST, "/integrations/{id}/", handler!(routes::post_root)) },
        row(GET, "/metrics", "metrics:read", handler!(metrics::scrape)),
        row(GET, "/bots", "chat:read", handler!(bots::cards)).for_folders(),
        row(GET, "/v1/models", "chat:read", handler!(completions::models)),
        row(GET, "/v1/models/{id}", "chat:read", handler!(completions::model)),
        Row { streams: true, ..row(POST, "/v1/chat/completions", "chat:write", handler!(completions::complete)) },
        Row { folders: true, streams: true, ..row(POST, "/chat", "chat:write", handler!(chat::say)) },
        Row { folders: true, streams: true, ..row(POST, "/chat/stream", "chat:write", handler!(chat::stream::say)) },
        Row { streams: true, ..row(GET, "/chat/stream", "chat:read", handler!(chat::stream::watch)) },
        row(POST, "/chat/cancel", "chat:write", handler!(chat::control::cancel)),
        row(POST, "/chat/tool_result", "chat:write", handler!(chat::control::tool_result)),
        Row { streams: true, ..row(POST, "/transcribe", "chat:write", handler!(chat::speech::transcribe)) },

        row(POST, "/api/v1/attachments", "attachments:write", handler!(attachments::upload)).for_folders(),
        row(GET, "/api/v1/attachments/{id}", "attachments:read", handler!(attachments::show)),
        row(GET, "/api/v1/attachments/{id}/content", "attachments:read", handler!(attachments::content)),

        row(GET, "/api/v1/admin/integrations", "integrations:read", handler!(integrations::list)),
        row(GET, "/api/v1/admin/integrations/sidebar-sections", "integrations:read", handler!(folders::sections)),
        row(GET, "/api/v1/admin/integrations/forms", "integrations:read", handler!(forms::list)).for_folders(),
        row(GET, "/api/v1/admin/integrations/icons", "integrations:read", handler!(folders::icons)),
        row(GET, "/api/v1/admin/integrations/dashboard-modules", "integrations:read", handler!(folders::modules)),
        row(DELETE, "/api/v1/admin/integrations/{id}", "integrations:write", handler!(folders::remove)),
        row(POST, "/api/v1/admin/integrations/{id}/enable", "integrations:write", handler!(folders::enable)),
        row(POST, "/api/v1/admin/integrations/{id}/disable", "integrations:write", handler!(folders::disable)),
        Row { streams: true, ..row(POST, "/api/v1/admin/integrations/{id}/approve", "integrations:write", handler!(folders::approve)) },
        Row { streams: true, ..row(POST, "/api/v1/admin/integrations/{id}/reload", "integrations:write", handler!(folders::reload)) },
        row(POST, "/api/v1/admin/integrations/{id}/variables/{name}/allow", "integrations:write", handler!(folders::allow)),
        row(GET, "/api/v1/admin/integrations/{id}/logs", "integrations:read", handler!(folders::logs)),
        row(GET, "/api/v1/admin/integrations/{id}/webhook", "integrations:read", handler!(integrations::show_webhook)),
        row(POST, "/api/v1/admin/integrations/{id}/pause", "integrations:write", handler!(integrations::pause)),
        row(POST, "/api/v1/admin/integrations/{id}/resume", "integrations:write", handler!(integrations::resume)),
        row(GET, "/api/v1/admin/integrations/{id}/process", "integrations:read", handler!(processes::show)),
        row(POST, "/api/v1/admin/integrations/{id}/process/start", "integrations:write", handler!(processes::start)),
        row(POST, "/api/v1/admin/integrations/{id}/process/stop", "integrations:write", handler!(processes::stop)),
        row(POST, "/api/v1/admin/integrations/{id}/process/restart", "integrations:write", handler!(processes::restart)),
        row(GET, "/api/v1/admin/integrations/{id}/process/logs", "integrations:read", handler!(processes::logs)),
        row(PUT, "/api/v1/admin/integrations/{id}/process/auto-start", "integrations:write", handler!(processes::auto_start)),
        row(GET, "/api/v1/admin/integrations/{id}/settings", "integrations:read", handler!(settings::show)).for_folders(),
        row(PUT, "/api/v1/admin/integrations/{id}/settings", "integrations:write", handler!(settings::put)),
        row(DELETE, "/api/v1/admin/integrations/{id}/settings/{key}", "integrations:write", handler!(settings::delete)),
        row(GET, "/api/v1/admin/integrations/{id}/connection", "integrations:read", handler!(connections::show_default)),
        row(POST, "/api/v1/admin/integrations/{id}/connection/test", "integrations:write", handler!(connections::test_default)),
        row(POST, "/api/v1/admin/integrations/{id}/connection/connect", "integrations:write", handler!(connections::connect_default)),
        row(POST, "/api/v1/admin/integrations/{id}/connection/sync", "integrations:write", handler!(connections::sync::start_default)),
        row(POST, "/api/v1/admin/integrations/{id}/connection/disconnect", "integrations:write", handler!(connections::changes::disconnect_default)),
        row(GET, "/api/v1/admin/integrations/{id}/connections", "integrations:read", handler!(connections::list)),
        row(GET, "/api/v1/admin/integrations/{id}/connections/{name}", "integrations:read", handler!(connections::show)),
        row(POST, "/api/v1/admin/integrations/{id}/connections/{name}/test", "integrations:write", handler!(connections::test)),
        row(POST, "/api/v1/admin/integrations/{id}/connections/{name}/connect", "integrations:write", handler!(connections::connect)),
        row(POST, "/api/v1/admin/integrations/{id}/connections/{name}/disconnect", "integrations:write", handler!(connections::changes::disconnect)),
        row(POST, "/api/v1/admin/integrations/{id}/connections/{name}/rotate", "integrations:write", handler!(connections::changes::rotate)),
        row(GET, "/api/v1/admin/integrations/{id}/connections/{name}/token", "integrations:read", handler!(connections::token::show)).for_folders(),
        row(POST, "/api/v1/admin/integrations/{id}/connections/{name}/authorize", "integrations:write", handler!(connections::authorize::begin)),
        row(POST, "/api/v1/admin/integrations/{id}/connections/{name}/authorize/landed", "integrations:write", handler!(connections::authorize::landed)),
        open(GET, "/api/v1/oauth/callback", handler!(oauth::callback)),
        open(GET, "/api/v1/oauth/agree/{id}/{name}/{ticket}", handler!(oauth::link)),
        open(POST, "/api/v1/oauth/agree/{id}/{name}/{ticket}", handler!(oauth::agree)),
        row(GET, "/api/v1/admin/integrations/{id}/connections/{name}/history", "integrations:read", handler!(connections::history::list)),
        row(GET, "/api/v1/admin/integrations/{id}/connections/{name}/sync", "integrations:read", handler!(connections::sync::show)),
        row(PUT, "/api/v1/admin/integrations/{id}/connections/{name}/sync", "integrations:write", handler!(connections::sync::put)),
        row(POST, "/api/v1/admin/integrations/{id}/connections/{name}/sync", "integrations:write", handler!(connections::sync::start)),
        row(GET, "/api/v1/admin/integrations/{id}/connections/{name}/ledger", "integrations:read", handler!(connections::sync::ledger)),
        row(POST, "/api/v1/admin/integrations/{id}/connections/{name}/ledger/{record}", "integrations:write", handler!(connections::sync::settle)),

        row(GET, "/api/v1/admin/log", "log:read", handler!(log::show)),
        row(PUT, "/api/v1/admin/log", "log:write", handler!(log::put)),
        row(DELETE, "/api/v1/admin/log", "log:write", handler!(log::delete)),

        row(GET, "/api/v1/sessions", "sessions:read", handler!(sessions::list)),
        row(POST, "/api/v1/sessions", "sessions:write", handler!(sessions::open)).for_folders(),
        row(GET, "/api/v1/sessions/{id}", "sessions:read", handler!(sessions::show)).for_folders(),
        row(POST, "/api/v1/sessions/{id}/reset", "sessions:write", handler!(sessions::reset)),
        row(GET, "/api/v1/sessions/{id}/messages", "sessions:read", handler!(messages::list)).for_folders(),
        row(POST, "/api/v1/sessions/{id}/messages", "sessions:write", handler!(messages::post)).for_folders(),

        row(GET, "/api/v1/tasks", "tasks:read", handler!(tasks::list)),
        row(GET, "/api/v1/tasks/{id}", "tasks:read", handler!(tasks::show)).for_folders(),
        row(POST, "/api/v1/tasks/{id}/cancel", "tasks:write", handler!(tasks::cancel)).for_folders(),
        row(POST, "/api/v1/tasks/{id}/resume", "tasks:write", handler!(tasks::resume)),
        row(GET, "/api/v1/tasks/{id}/trace", "tasks:read", handler!(tasks::trace)),
        Row { folders: true, streams: true, ..row(GET, "/api/v1/tasks/{id}/events", "tasks:read", handler!(events::follow)) },

        row(GET, "/api/v1/deliveries", "deliveries:read", handler!(deliveries::list)),
        row(GET, "/api/v1/deliveries/{id}", "deliveries:read", handler!(deliveries::show)),
        row(POST, "/api/v1/deliveries/{id}/replay", "deliveries:write", handler!(deliveries::replay)),

        row(GET, "/api/v1/outbox", "outbox:read", handler!(outbox::list)),
        row(GET, "/api/v1/outbox/{id}", "outbox:read", handler!(outbox::show)),
        row(POST, "/api/v1/outbox/{id}/retry", "outbox:write", handler!(outbox::retry)),
        row(POST, "/api/v1/outbox/{id}/drop", "outbox:write", handler!(outbox::drop)),

        row(GET, "/api/v1/egress", "egress:read", handler!(egress::list)),
        row(GET, "/api/v1/notices", "notices:read", handler!(notices::list)),
        row(GET, "/api/v1/notices/target", "notices:read", handler!(notice_target::show)),
        row(PUT, "/api/v1/notices/target", "notices:write", handler!(notice_target::put)),
        row(DELETE, "/api/v1/notices/target", "notices:write", handler!(notice_target::delete)),
        row(GET, "/api/v1/notices/{id}", "notices:read", handler!(notices::show)),
        row(POST, "/api/v1/notices/{id}/dismiss", "notices:write", handler!(notices::dismiss)),

        row(GET, "/api/v1/usage", "usage:read", handler!(usage::show)),
        row(GET, "/api/v1/usage/prices", "usage:read", handler!(usage::prices)),
        row(PUT, "/api/v1/usage/prices", "usage:write", handler!(usage::put_prices)),
        row(GET, "/api/v1/budgets", "budgets:read", handler!(budgets::list)),
        row(POST, "/api/v1/budgets", "budgets:write", handler!(budgets::create)),
        row(GET, "/api/v1/budgets/{id}", "budgets:read", handler!(budgets::show)),
        row(PUT, "/api/v1/budgets/{id}", "budgets:write", handler!(budgets::put)),
        row(DELETE, "/api/v1/budgets/{id}", "budgets:write", handler!(budgets::delete)),

        row(POST, "/api/v1/documents", "documents:write", handler!(documents::create)).for_folders(),
        row(GET, "/api/v1/documents/search", "documents:read", handler!(documents::search)).for_folders(),
        row(GET, "/api/v1/documents/{id}", "documents:read", handler!(documents::show)).for_folders(),
        row(DELETE, "/api/v1/documents/{id}", "documents:write", handler!(documents::delete)).for_folders(),

        row(GET, "/api/v1/records", "records:read", handler!(records::collections)),
        row(GET, "/api/v1/records/{collection}", "records:read", handler!(records::list)),
        row(POST, "/api/v1/records/{collection}", "records:write", handler!(records::store)),
        row(GET, "/api/v1/records/{collection}/{id}", "records:read", handler!(records::show)),
        row(PUT, "/api/v1/records/{collection}/{id}", "records:write", handler!(records::put)),
        row(DELETE, "/api/v1/records/{collection}/{id}", "records:write", handler!(records::delete)),

        row(GET, "/api/v1/syncs", "syncs:read", handler!(syncs::list)),
        row(GET, "/api/v1/syncs/{id}", "syncs:read", handler!(syncs::show)),
        row(GET, "/api/v1/syncs/{id}/records", "syncs:read", handler!(syncs::records)),
        row(POST, "/api/v1/syncs/{id}/cancel", "syncs:write", handler!(syncs::cancel)),
        row(POST, "/api/v1/syncs/{id}/resume", "syncs:write", handler!(syncs::resume)),

        row(GET, "/api/v1/keys", "keys:read", handler!(keys::list)),
        row(POST, "/api/v1/keys", "keys:write", handler!(keys::create)),
        row(GET, "/api/v1/keys/current", ANY, handler!(keys::current)).for_folders(),
        row(GET, "/api/v1/features", ANY, handler!(features::show)).for_folders(),
        row(GET, "/api/v1/keys/{id}", "keys:read", handler!(keys::show)),
        row(DELETE, "/api/v1/keys/{id}", "keys:write", handler!(keys::revoke)),
        // Whoever has it can sign as this server.
        row(POST, "/api/v1/keys/webhook-secret", "keys:write", handler!(keys::webhook_secret)),
        Row { streams: true, ..row(POST, "/api/v1/keys/rotate-seal", "keys:write", handler!(sealing::rotate)) },

        // Whoever has it has everything: all that is said, and with the passphrase all secrets.
        Row { streams: true, ..row(POST, "/api/v1/backup", "backup:write", handler!(backup::make)) },
        row(GET, "/api/v1/held", "held:read", handler!(held::show)),
        row(POST, "/api/v1/held/resume", "held:write", handler!(held::resume)),

        row(GET, "/api/v1/tools", "tools:read", handler!(tools::list)).for_folders(),
        Row { folders: true, streams: true, ..row(POST, "/api/v1/tools/{name}/call", "tools:write", handler!(tools::call)) },

        row(GET, "/api/v1/hooks", "hooks:read", handler!(hooks::list)),
        row(POST, "/api/v1/hooks", "hooks:write", handler!(hooks::create)),
        row(GET, "/api/v1/hooks/{id}", "hooks:read", handler!(hooks::show)),
        row(PUT, "/api/v1/hooks/{id}", "hooks:write", handler!(hooks::put)),
        row(DELETE, "/api/v1/hooks/{id}", "hooks:write", handler!(hooks::delete)),
        row(POST, "/api/v1/hooks/{id}/rotate", "hooks:write", handler!(hooks::rotate)),
        row(POST, "/api/v1/hooks/{id}/test", "hooks:write", handler!(hooks::attempts::test)),
        row(POST, "/api/v1/hooks/{id}/replay", "hooks:write", handler!(hooks::attempts::replay)),
        row(GET, "/api/v1/hooks/{id}/attempts", "hooks:read", handler!(hooks::attempts::list)),
        row(POST, "/api/v1/hooks/{id}/attempts/{n}/redeliver", "hooks:write", handler!(hooks::attempts::redeliver)),

        row(GET, "/api/v1/channels", "channels:read", handler!(channels::list)).for_folders(),
        row(POST, "/api/v1/channels", "channels:write", handler!(channels::create)),
        row(GET, "/api/v1/channels/prefixes", "channels:read", handler!(channels::prefixes)).for_folders(),
        row(GET, "/api/v1/channels/{id}", "channels:read", handler!(channels::show)).for_folders(),
        row(PUT, "/api/v1/channels/{id}", "channels:write", handler!(channels::change)),
        row(DELETE, "/api/v1/channels/{id}", "channels:write", handler!(channels::delete)),
        row(GET, "/api/v1/channels/{id}/bindings", "channels:read", handler!(bindings::list)),
        row(POST, "/api/v1/channels/{id}/bindings", "channels:write", handler!(bindings::create)),
        row(DELETE, "/api/v1/channels/{id}/bindings/{binding}", "channels:write", handler!(bindings::delete)),

        row(GET, "/api/v1/schedules", "schedules:read", handler!(schedules::list)),
        row(POST, "/api/v1/schedules", "schedules:write", handler!(schedules::create)),
        row(GET, "/api/v1/schedules/{id}", "schedules:read", handler!(schedules::show)),
        row(PUT, "/api/v1/schedules/{id}", "schedules:write", handler!(schedules::put)),
        row(DELETE, "/api/v1/schedules/{id}", "schedules:write", handler!(schedules::delete)),
        row(POST, "/api/v1/schedules/{id}/pause", "schedules:write", handler!(schedules::pause)),
        row(POST, "/api/v1/schedules/{id}/resume", "schedules:write", handler!(schedules::resume)),
        row(POST, "/api/v1/schedules/{id}/run", "schedules:write", handler!(schedules::run)),
        row(GET, "/api/v1/schedules/{id}/history", "schedules:read", handler!(schedules::history)),
        row(GET, "/api/v1/providers", "providers:read", handler!(providers::list)),
        row(POST, "/api/v1/providers", "providers:write", handler!(providers::create)),
        row(GET, "/api/v1/providers/{id}", "providers:read", handler!(providers::show)),
        row(PUT, "/api/v1/providers/{id}", "providers:write", handler!(providers::put)),
        row(DELETE, "/api/v1/providers/{id}", "providers:write", handler!(providers::delete)),
        row(POST, "/api/v1/providers/{id}/test", "providers:write", handler!(providers::test)),

        row(GET, "/api/v1/bots", "bots:read", handler!(bots::list)).for_folders(),
        row(POST, "/api/v1/bots", "bots:write", handler!(bots::create)),
        row(GET, "/api/v1/bots/{id}", "bots:read", handler!(bots::show)).for_folders(),
        row(PUT, "/api/v1/bots/{id}", "bots:write", handler!(bots::put)),
        row(DELETE, "/api/v1/bots/{id}", "bots:write", handler!(bots::delete)),
    ];
    rows
}

fn row(method: &'static str, path: &'static str, scope: &'static str, handler: Handler) -> Row {
    Row { route: Route { method, path, scope: Some(scope) }, folders: false, streams: false, handler }
}

fn open(method: &'static str, path: &'static str, handler: Handler) -> Row {
    Row { route: Route { method, path, scope: None }, folders: false, streams: false, handler }
}

impl Row {
    fn for_folders(self) -> Self {
        Self { folders: true, ..self }
    }
}

fn build(app: &Arc<App>, rows: Vec<Row>) -> Router {
    let mut router = Router::new();
    let is_whole = rows.iter().any(|row| row.route.path == "/health");
    for Row { route, folders, streams, handler } in rows {
        let looks_only = ["/health", "/ready", "/openapi.json"].contains(&route.path);
        let gate = Gate { app: app.clone(), scope: route.scope, folders, streams, looks_only };
        let mut handler = (handler.serve)(filter(route.method)).route_layer(from_fn_with_state(gate, guard));
        if route.path.starts_with("/v1/") {
            handler = handler.route_layer(from_fn(completions::in_their_shape));
        }
        if route.path == "/integrations/{id}/webhook" {
            // Some services ask with another method whether an address is the right one.
            handler = handler
                .fallback(async |State(app): State<Arc<App>>, request: Request| routes::answer(app, request).await);
        }
        router = router.route(route.path, handler);
    }
    router
        .fallback(move |State(app): State<Arc<App>>, request: Request| async move {
            match is_whole {
                true => readiness::answer(app, request).await,
                false => Err(nothing(request.uri())),
            }
        })
        .method_not_allowed_fallback(async |method: Method, uri: Uri| {
            Error::wrong_method(format!("{method} is not possible at {}", uri.path()))
        })
        .layer(DefaultBodyLimit::max(app.config.capacity.body))
        .layer(from_fn(outer::around))
        .with_state(app.clone())
}

fn filter(method: &str) -> MethodFilter {
    let method = Method::from_bytes(method.as_bytes()).expect("the table names methods");
    MethodFilter::try_from(method).expect("the table names methods that can be routed")
}

fn nothing(uri: &Uri) -> Error {
    Error::not_found(format!("There is nothing at {}", uri.path()))
}

/// Nothing is taken in when there may be no room to store what comes of it.
fn has_room(app: &App) -> Result<()> {
    match crate::disk::is_full(app) {
        true => Err(Error::unavailable("The disk is almost full: nothing is accepted until some space is free")),
        false => Ok(()),
    }
}

/// What would leave at once waits for nobody's look: it is refused while the server is held.
fn is_not_held(app: &App) -> Result<()> {
    match app.hold.held() {
        Some(held) => {
            Err(Error::unavailable(format!("The server is held ({}): `tercel resume` lets it go on", held.reason)))
        }
        None => Ok(()),
    }
}

/// A new id; under an idempotency key always the same one.
fn new_id(identity: &Identity, call: &str, key: Option<&str>) -> Uuid {
    match key {
        Some(key) => Uuid::new_v5(&Uuid::nil(), identity.idempotency(call, key).as_bytes()),
        None => Uuid::now_v7(),
    }
}

/// Whether a key that made something then is not known any more.
fn is_forgotten(made_at: i64) -> bool {
    made_at + crate::inject::DAY < tercel_store::now()
}

/// Stored JSON as it is shown; null when there is none.
fn json(text: Option<&str>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}
