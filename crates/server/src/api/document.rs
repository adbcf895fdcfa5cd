//! The description of the interface for programs.

use super::{Route, Row, auth::ANY, error::Failure, table};
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use std::sync::OnceLock;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, OpenApiVersion, Paths, Ref, RefOr,
        ResponseBuilder, Responses,
        path::{Operation, PathItem},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

const KEY: &str = "key";

pub fn openapi() -> OpenApi {
    let mut components = Components::new();
    let mut scheme = Http::new(HttpAuthScheme::Bearer);
    scheme.description =
        Some("An API key. Its scopes say what it may: `<resource>:read`, `<resource>:write`, `admin`".into());
    components.add_security_scheme(KEY, SecurityScheme::Http(scheme));
    components.schemas.insert(Failure::name().into_owned(), Failure::schema());
    let mut paths = Paths::new();
    for Row { route, handler, .. } in table() {
        let (schemas, documented, _) = (handler.document)();
        components.schemas.extend(schemas);
        for (path, mut item) in documented.paths {
            // What matches any rest is written otherwise there.
            let path = path.replace("{*", "{");
            operations(&mut item).for_each(|operation| complete(operation, &route));
            match paths.paths.get_mut(&path) {
                Some(known) => known.merge_operations(item),
                None => {
                    paths.paths.insert(path, item);
                }
            }
        }
    }
    let info = InfoBuilder::new()
        .title("Tercel")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A self-hosted agent server"))
        .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").identifier(Some("MIT OR Apache-2.0")).build()));
    OpenApiBuilder::new()
        .openapi(OpenApiVersion::Version31)
        .info(info.build())
        .paths(paths)
        .components(Some(components))
        .build()
}

/// This description
#[utoipa::path(get, path = "/openapi.json", tag = "operation", responses((status = 200, body = Object)))]
pub async fn show() -> Response {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(text).as_str();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The description as the file `openapi.json` has it.
pub fn text() -> String {
    openapi().to_pretty_json().expect("a description made of strings is JSON") + "\n"
}

/// What holds for every operation: its scope and how it fails.
fn complete(operation: &mut Operation, route: &Route) {
    let tag = operation.tags.iter().flatten().next().map_or("", String::as_str);
    operation.operation_id = Some(name(route, tag));
    fail(&mut operation.responses, "default", "It failed");
    fail(&mut operation.responses, "429", "Too many requests; `Retry-After` says when to come back");
    if operation.request_body.is_some() {
        fail(&mut operation.responses, "413", "The body is too large");
        fail(&mut operation.responses, "422", "The body is not as expected");
    }
    if let Some(scope) = route.scope {
        fail(&mut operation.responses, "401", "There is no key, or it is not known");
        if scope != ANY {
            fail(&mut operation.responses, "403", &format!("The key does not have the scope `{scope}`"));
        }
        operation.security = Some(vec![SecurityRequirement::new(KEY, [scope])]);
    }
}

/// `get_tasks_id_trace`; what is not below `/api/v1` begins with its tag: `get_chat_bots`.
fn name(route: &Route, tag: &str) -> String {
    let path = match route.path.strip_prefix("/api/v1") {
        Some(path) => path.to_owned(),
        None => format!("{tag}{}", route.path),
    };
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    [route.method.to_lowercase().as_str()].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

fn fail(responses: &mut Responses, status: &str, description: &str) {
    let known = responses.responses.get(status);
    let description = match known {
        Some(RefOr::T(response)) => response.description.clone(),
        _ => description.to_owned(),
    };
    let body = Content::new(Some(Ref::from_schema_name(Failure::name())));
    let response = ResponseBuilder::new().description(description).content("application/json", body).build();
    responses.responses.insert(status.into(), response.into());
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}
