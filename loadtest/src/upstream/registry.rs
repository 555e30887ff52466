//! Private registries: npm's, and an index of Python packages (PEP 503 and PEP 691).
//!
//! A package of npm is a folder `NAME/VERSION` of the site with `package.json` and `package.tgz`; one of Python is a
//! folder `NAME` with its wheels. Hashes are made from the files, so that a client finds out what was changed.

use std::path::Path;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{ACCEPT, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use super::answer::{status, typed};
use super::body::{self, Body};
use super::site::{self, Site};

const INDEX_JSON: &str = "application/vnd.pypi.simple.v1+json";

/// A registry of npm: packuments, tarballs, and the advisories that `npm install` asks for, of which there are none.
///
/// # Errors
/// When a package cannot be read.
pub fn npm(site: &Site, head: &Parts) -> Result<Response<Body>> {
    let not_found = || site::json(StatusCode::NOT_FOUND, &json!({"error": "Not found"}));
    if !site.is_authorized(&head.headers, &["Bearer"]) {
        return Ok(site::json(
            StatusCode::UNAUTHORIZED,
            &json!({"error": "You must be logged in to read this package."}),
        ));
    }
    let path = head.uri.path().trim_start_matches('/');
    if path.starts_with("-/npm/v1/security/") {
        return Ok(site::json(StatusCode::OK, &json!({})));
    }
    if let Some((name, file)) = path.split_once("/-/") {
        let version = file
            .strip_suffix(".tgz")
            .and_then(|stem| stem.rsplit_once('-'))
            .map(|(_, version)| version);
        let tarball = version.and_then(|version| {
            let folder = name.split('/').chain([version, "package.tgz"]);
            below(site.folder(), folder)
        });
        return Ok(match tarball {
            Some(bytes) => typed("application/octet-stream", body::full(bytes)),
            None => not_found(),
        });
    }
    // A scope and its package are one segment: npm writes the slash between them as %2f.
    let name = path.replace("%2f", "/").replace("%2F", "/");
    match packument(site, &name)? {
        Some(found) => Ok(site::json(StatusCode::OK, &found)),
        None => Ok(not_found()),
    }
}

/// All that a registry says of a package; `None` if it has no such package.
fn packument(site: &Site, name: &str) -> Result<Option<Value>> {
    if !name.split('/').all(is_plain) {
        return Ok(None);
    }
    let Ok(entries) = std::fs::read_dir(site.folder().join(name)) else {
        return Ok(None);
    };
    let (mut versions, mut latest) = (Map::new(), String::new());
    for entry in entries {
        let folder = entry?.path();
        let manifest = std::fs::read(folder.join("package.json")).context("no package.json")?;
        let mut manifest: Value = serde_json::from_slice(&manifest)?;
        let tarball = std::fs::read(folder.join("package.tgz")).context("no package.tgz")?;
        let version = text(&manifest, "version").to_owned();
        let stem = name.rsplit('/').next().unwrap_or(name);
        let dist = json!({
            "tarball": format!("https://{}/{name}/-/{stem}-{version}.tgz", site.host()),
            "integrity": format!("sha512-{}", STANDARD.encode(Sha512::digest(&tarball))),
        });
        if let Some(fields) = manifest.as_object_mut() {
            fields.insert("dist".to_owned(), dist);
        }
        latest = latest.max(version.clone());
        versions.insert(version, manifest);
    }
    Ok(Some(
        json!({"name": name, "dist-tags": {"latest": latest}, "versions": versions}),
    ))
}

/// An index of Python packages below `/simple/`, with the files below `/files/`.
///
/// # Errors
/// When a package cannot be read.
pub fn pypi(site: &Site, head: &Parts) -> Result<Response<Body>> {
    if !site.is_password(&head.headers) {
        let mut answer = status(StatusCode::UNAUTHORIZED, "a password is needed\n");
        let challenge = HeaderValue::from_static("Basic realm=\"packages\"");
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        return Ok(answer);
    }
    let not_found = || status(StatusCode::NOT_FOUND, "no such package\n");
    let path = head.uri.path();
    if let Some(file) = path.strip_prefix("/files/") {
        return Ok(match below(site.folder(), file.split('/')) {
            Some(bytes) => typed("application/octet-stream", body::full(bytes)),
            None => not_found(),
        });
    }
    let name = path
        .strip_prefix("/simple/")
        .and_then(|rest| rest.strip_suffix('/'));
    let Some(name) = name.filter(|name| is_plain(name)) else {
        return Ok(not_found());
    };
    let Ok(entries) = std::fs::read_dir(site.folder().join(name)) else {
        return Ok(not_found());
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let file = path.file_name().and_then(|file| file.to_str());
        let hash = hex(&Sha256::digest(std::fs::read(&path)?));
        files.push((file.context("a name that is no text")?.to_owned(), hash));
    }
    let asked = head
        .headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok());
    Ok(
        match asked.is_some_and(|asked| asked.contains(INDEX_JSON)) {
            true => typed(INDEX_JSON, body::full(as_json(name, &files).to_string())),
            false => typed("text/html", body::full(as_html(name, &files))),
        },
    )
}

fn as_json(name: &str, files: &[(String, String)]) -> Value {
    let files = files.iter().map(|(file, hash)| {
        json!({"filename": file, "url": format!("/files/{name}/{file}"), "hashes": {"sha256": hash}})
    });
    json!({"meta": {"api-version": "1.0"}, "name": name, "files": files.collect::<Vec<_>>()})
}

fn as_html(name: &str, files: &[(String, String)]) -> String {
    let links = files
        .iter()
        .map(|(file, hash)| format!("<a href=\"/files/{name}/{file}#sha256={hash}\">{file}</a>\n"));
    format!("<!DOCTYPE html>\n{}", links.collect::<String>())
}

/// The content of a file below a folder; `None` if there is none, or a part of its path leads elsewhere.
fn below<'a>(folder: &Path, parts: impl Iterator<Item = &'a str>) -> Option<Vec<u8>> {
    let mut path = folder.to_owned();
    for part in parts {
        if !is_plain(part) {
            return None;
        }
        path.push(part);
    }
    std::fs::read(path).ok()
}

/// Whether a part of a path names something in its own folder.
fn is_plain(part: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    !part.starts_with('.') && !part.is_empty() && part.bytes().all(is_fit)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
