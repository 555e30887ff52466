//! What handlers take: the caller, and parts of the request that are refused with a problem instead of plain text.
//!
//! **Invariant.** Nothing that the caller sent is repeated in a refusal: it may be a credential's value.

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sortie_proto::code::Code;
use sortie_proto::wire::v1;
use utoipa::ToSchema;
use zeroize::Zeroize;

use crate::access::{self, Action, Actor, Authorized, Operator};
use crate::api::State;
use crate::api::problem::Problem;
use crate::database::Database;
use crate::error::Error;

/// The caller, authenticated. It comes before the body in a handler's arguments, so that a stranger's body is not read.
pub(super) struct Caller {
    actor: Actor,
    database: Database,
}

impl Caller {
    /// Asks for an action in a tenant.
    pub(super) async fn may<A: Action>(self, tenant: &str) -> Result<Authorized<A>, Problem> {
        Ok(access::authorize(&self.database, self.actor, tenant).await?)
    }

    /// Asks to run the cluster.
    pub(super) fn operates(self) -> Result<Operator, Problem> {
        Ok(access::operate(self.actor)?)
    }
}

impl FromRequestParts<State> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let header = header.map(|value| value.as_bytes());
        let actor = access::authenticate(&state.database, &state.keys, header).await?;
        Ok(Self {
            actor,
            database: state.database.clone(),
        })
    }
}

/// Parameters of the path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub(super) struct Path<T>(pub(super) T);

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Code::NotFound.into()
    }
}

/// Parameters of the query.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub(super) struct Query<T>(pub(super) T);

impl From<QueryRejection> for Problem {
    fn from(_: QueryRejection) -> Self {
        let message = "has a parameter that is not known, comes twice, or has the wrong type";
        Error::invalid("query", message).into()
    }
}

/// A JSON body, in and out.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned> FromRequest<State> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(not_json());
        }
        parse(read(request, state).await?)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        })
}

fn not_json() -> Problem {
    Error::invalid("content-type", "must be application/json").into()
}

async fn read(request: Request, state: &State) -> Result<Bytes, Problem> {
    let body = Bytes::from_request(request, state).await;
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::from(Code::BodyTooLarge),
        _ => Error::invalid("body", "did not arrive whole").into(),
    })
}

fn parse<T: DeserializeOwned>(body: Bytes) -> Result<Json<T>, Problem> {
    let read = serde_json::from_slice(&body);
    // It may hold a value. Where this process is the only holder of the buffer, as it is for what came over the wire,
    // nothing of it stays in memory.
    if let Ok(mut body) = body.try_into_mut() {
        body.as_mut().zeroize();
    }
    match read {
        Ok(value) => Ok(Json(value)),
        Err(error) => Err(Error::invalid("body", explain(&error)).into()),
    }
}

/// The body of a call that needs none: nothing at all is every default, whatever type is said to come. Clients that
/// set one for every call are common.
pub(super) async fn optional<T: DeserializeOwned + Default>(
    state: &State,
    request: Request,
) -> Result<Json<T>, Problem> {
    let is_json = is_json(request.headers());
    let body = read(request, state).await?;
    if body.is_empty() {
        return Ok(Json(T::default()));
    }
    if !is_json {
        return Err(not_json());
    }
    parse(body)
}

/// How a caller revokes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Revoke {
    /// Waits so many seconds, at most 20, until every gateway that may serve what is revoked enforces it, and answers
    /// how many do. 0 does not wait.
    pub(super) wait_seconds: u32,
}

/// What is wrong with a body. serde's own words are kept only where they name fields: others quote what was sent.
fn explain(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    if !error.is_data() {
        return format!("is not JSON at line {line}, column {column}");
    }
    let text = error.to_string();
    let names_fields = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .any(|start| text.starts_with(start));
    let is_short = text.len() <= 512;
    if names_fields && is_short {
        text
    } else {
        format!("has a field of the wrong type at line {line}, column {column}")
    }
}

/// Which page of a list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// 1 to 1,000; 100 if it is not given.
    page_size: Option<i32>,
    /// `next_page_token` of the page before.
    page_token: Option<String>,
}

impl PageQuery {
    pub(super) fn page(self) -> v1::Page {
        page(self.page_size, self.page_token)
    }
}

/// A page, from a query. A size of 0 is not the same as none: in JSON nothing stands for "not given" but its absence.
pub(super) fn page(size: Option<i32>, token: Option<String>) -> v1::Page {
    v1::Page {
        page_size: match size {
            None => 0,
            Some(0) => -1,
            Some(size) => size,
        },
        page_token: token.unwrap_or_default(),
    }
}
