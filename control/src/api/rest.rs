//! The router: the table of contents of the REST API.
//!
//! Paths with a verb, `…/{vault}:revoke`, cannot be written as routes: the router has no parameters with a suffix. They
//! are routed by `verb`, and described under the path that callers use.

mod agents;
mod alarms;
mod api_keys;
mod audit;
mod credentials;
mod extract;
mod gateways;
mod grants;
mod services;
mod sessions;
mod tenants;
mod vaults;

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use sortie_proto::code::Code;
use tracing::Instrument;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;
use uuid::Uuid;

use self::extract::{Json, Path, Query};
use super::State;
use super::problem::Problem;

/// The largest body of a request, in bytes. A larger one is refused with 413.
const BODY_MAX: usize = 1024 * 1024;
/// The largest body of a batch, in bytes.
const BATCH_BODY_MAX: usize = 4 * 1024 * 1024;
/// How long a call may take. Its transaction is rolled back then, and the caller reads 503.
pub(super) const CALL_MAX: Duration = Duration::from_secs(30);

type Answer<T> = Result<Json<T>, Problem>;
type Created<T> = Result<(StatusCode, Json<T>), Problem>;

fn created<T>(answer: Result<T, crate::error::Error>) -> Created<T> {
    Ok((StatusCode::CREATED, Json(answer?)))
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    tenants::revoke,
    gateways::lock,
    gateways::unlock,
    vaults::revoke,
    credentials::revoke,
    agents::revoke,
    sessions::renew,
    sessions::revoke
))]
struct Verbs;

/// The routes and their description.
pub(super) fn routes() -> (Router<State>, OpenApi) {
    let (router, document) = OpenApiRouter::with_openapi(Verbs::openapi())
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::get, tenants::update))
        .routes(routes!(tenants::authority))
        .routes(routes!(gateways::create_join))
        .routes(routes!(gateways::list))
        .routes(routes!(alarms::list))
        .routes(routes!(api_keys::create, api_keys::list))
        .routes(routes!(api_keys::delete))
        .routes(routes!(vaults::create, vaults::list))
        .routes(routes!(vaults::get, vaults::update, vaults::delete))
        .routes(routes!(credentials::list))
        .routes(routes!(
            credentials::put,
            credentials::get,
            credentials::delete
        ))
        .routes(routes!(services::list))
        .routes(routes!(services::put, services::get, services::delete))
        .routes(routes!(grants::put, grants::delete))
        .routes(routes!(agents::create, agents::list))
        .routes(routes!(agents::get, agents::update, agents::delete))
        .routes(routes!(sessions::mint, sessions::list))
        .routes(routes!(sessions::mint_batch).layer(DefaultBodyLimit::max(BATCH_BODY_MAX)))
        .routes(routes!(sessions::revoke_many))
        .routes(routes!(audit::list))
        .split_for_parts();
    let router = router
        .route("/v1/tenants/{tenant}", post(tenants::verb))
        .route("/v1/gateways/{gateway}", post(gateways::verb))
        .route(
            "/v1/tenants/{tenant}/vaults/{vault}/credentials/{credential}",
            post(credentials::verb),
        )
        .route("/v1/tenants/{tenant}/vaults/{vault}", post(vaults::verb))
        .route("/v1/tenants/{tenant}/agents/{agent}", post(agents::verb))
        .route(
            "/v1/tenants/{tenant}/sessions/{session}",
            post(sessions::verb),
        );
    (router, document)
}

/// Puts around all routes what holds for all: bounds, an id, and typed answers for what no route takes.
pub(super) fn wrap(router: Router) -> Router {
    router
        .fallback(|| std::future::ready(Problem::from(Code::NotFound)))
        .method_not_allowed_fallback(|| std::future::ready(Problem::from(Code::MethodNotAllowed)))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(around))
}

/// Gives a call its id and its end.
async fn around(request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().simple().to_string();
    let route = request.extensions().get::<MatchedPath>();
    let span = tracing::info_span!(
        "api",
        request.id = %id,
        method = %request.method(),
        route = route.map_or("", MatchedPath::as_str),
    );
    let answer = tokio::time::timeout(CALL_MAX, next.run(request).instrument(span));
    let mut response = match answer.await {
        Ok(response) => response,
        Err(_elapsed) => Problem::from(Code::Unavailable).into_response(),
    };
    let headers = response.headers_mut();
    // Keys and tokens are shown once, to the caller and to no cache (RFC 9111, 5.2.2.5).
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", id);
    }
    response
}

/// Splits the last segment of a path with a verb.
fn split_verb(segment: &str) -> Option<(&str, &str)> {
    segment.rsplit_once(':')
}
