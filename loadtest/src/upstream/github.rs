//! GitHub's REST API, as far as a private repository and its owner go.
//!
//! It refuses in GitHub's words: 401 for a token that it does not know, and 404 for a private repository that was asked
//! for without one.

use anyhow::{Context as _, Result};
use hyper::Response;
use hyper::StatusCode;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use serde_json::{Value, json};

use super::body::Body;
use super::site::{self, Site};

/// Who the token belongs to.
const LOGIN: &str = "octo-agent";

/// Answers `GET /user` and `GET /repos/OWNER/NAME`, the latter for each `OWNER/NAME.json` of the site, which holds the
/// repository's fields besides its name.
///
/// # Errors
/// When such a file is no JSON.
pub fn answer(site: &Site, head: &Parts) -> Result<Response<Body>> {
    let is_known = site.is_authorized(&head.headers, &["Bearer", "token"]);
    if !is_known && head.headers.contains_key(AUTHORIZATION) {
        return Ok(refusal(StatusCode::UNAUTHORIZED, "Bad credentials"));
    }
    let path = head.uri.path();
    if path == "/user" {
        return Ok(match is_known {
            true => site::json(
                StatusCode::OK,
                &json!({"login": LOGIN, "type": "User", "id": 1}),
            ),
            false => refusal(StatusCode::UNAUTHORIZED, "Requires authentication"),
        });
    }
    match path.strip_prefix("/repos/").filter(|_| is_known) {
        Some(name) => repository(site, name),
        None => Ok(refusal(StatusCode::NOT_FOUND, "Not Found")),
    }
}

fn repository(site: &Site, name: &str) -> Result<Response<Body>> {
    let is_name = |part: &str| {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !part.is_empty() && part.bytes().all(is_fit)
    };
    let parts = name.split_once('/');
    let known = parts.filter(|(owner, name)| is_name(owner) && is_name(name));
    let text = known.and_then(|_| std::fs::read(site.folder().join(format!("{name}.json"))).ok());
    let Some(text) = text else {
        return Ok(refusal(StatusCode::NOT_FOUND, "Not Found"));
    };
    let mut fields: Value = serde_json::from_slice(&text).context("a repository is no JSON")?;
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("full_name".to_owned(), name.into());
    }
    Ok(site::json(StatusCode::OK, &fields))
}

fn refusal(status: StatusCode, message: &str) -> Response<Body> {
    let docs = "https://docs.github.com/rest";
    site::json(
        status,
        &json!({"message": message, "documentation_url": docs}),
    )
}
