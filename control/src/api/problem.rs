//! Errors as REST callers read them: `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sortie_proto::code::Code;
use utoipa::ToSchema;

use crate::error::Error;

/// Why a call was refused, or failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:sortie:error:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The code, for people.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened and what to do next.
    detail: &'static str,
    /// The code, for programs. It never changes.
    code: &'static str,
    /// The fields that cannot be accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldProblem>,
}

/// A field that cannot be accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The path of the field, such as `destinations[0].host`.
    field: String,
    /// What it must be.
    message: String,
}

impl From<Error> for Problem {
    /// Logs the error: this is where it is answered.
    fn from(error: Error) -> Self {
        error.log("an API call");
        let code = error.code();
        let errors = error.field_errors().iter();
        Self {
            kind: format!("urn:sortie:error:{code}"),
            title: code.name().replace('_', " "),
            status: code.status(),
            detail: error.detail(),
            code: code.name(),
            errors: errors
                .map(|(field, message)| FieldProblem {
                    field: field.clone(),
                    message: message.clone(),
                })
                .collect(),
        }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Error::new(code).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if status == StatusCode::UNAUTHORIZED {
            // RFC 9110, 15.5.2: a 401 says how to authenticate.
            let challenge = HeaderValue::from_static("Bearer realm=\"sortie\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
