//! The administration API: parse, ask access, call one command, answer.
//!
//! REST and gRPC stand on one port and call the same commands with the same messages; neither knows anything that the
//! other does not. No handler touches the database.

pub mod problem;
pub mod openapi;
pub mod rest;
pub mod grpc;

use axum::Router;
use axum::routing::get;

pub use crate::command::Context as State;

/// The description of REST, as it is served at `/openapi.json`.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    openapi::complete(rest::routes().1)
}

/// The API: REST under `/v1`, its description at `/openapi.json`, and gRPC as `sortie.v1.Admin`.
pub fn router(state: State) -> Router {
    let (routes, document) = rest::routes();
    let document = axum::Json(openapi::complete(document));
    let rest = routes
        .route(
            "/openapi.json",
            get(move || std::future::ready(document.clone())),
        )
        .with_state(state.clone());
    // The service's own paths take no part in the layers of REST: gRPC has its own limits and errors.
    rest::wrap(rest).route_service("/sortie.v1.Admin/{*rpc}", grpc::admin::service(state))
}
