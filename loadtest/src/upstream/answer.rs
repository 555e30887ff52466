//! From a request to its answer, by path.
//!
//! | path | answer |
//! |---|---|
//! | `/`, `/bytes/N` | 1,024 or N fixed bytes |
//! | `/json` | what the request was |
//! | `/echo/…` | the credential, see [`echo`]; `?length=1` announces the length where it would be chunked |
//! | `/sse?n=&interval_ms=` | server-sent events; endless if n is 0 |
//! | `/slow?ms=` | after a wait |
//! | `/drip?n=&ms=` | n bytes, one at a time |
//! | `/status/N` | that status |
//! | `/redirect?to=` | 302 to that place, as it stands |
//! | `/close` | breaks off in the middle |
//! | `/upload` | how many bytes came |
//! | `/websocket` | a WebSocket, see [`websocket`] |
//! | `/git/…` | `git http-backend` |
//! | `/v1/…` | models, see [`models`], if there is a key for them |
//! | `/gate` | one stream of a [`site`] goes on |
//!
//! At the host of a site, the site answers every path; hosts of a [`table`](super::table) answer what that says.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::stream;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use super::body::{self, Body, Received};
use super::listen::Upstream;
use super::record::{self, Connection};
use super::{echo, git, models, site, websocket};

const DEFAULT_BYTES: usize = 1024;
const DRIPS_MAX: usize = 64 * 1024;
const BYTES_MAX: usize = 1 << 30;

/// The query of a request.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Takes it from a head.
    #[must_use]
    pub fn of(head: &'a Parts) -> Self {
        Self(head.uri.query().unwrap_or_default())
    }

    /// A parameter as it stands.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'a str> {
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(found, value)| (found == name).then_some(value))
    }

    /// A parameter as a number.
    ///
    /// # Errors
    /// When it is there and is none.
    pub fn number(self, name: &str, default: usize) -> Result<usize> {
        let parse = |text: &str| {
            text.parse()
                .with_context(|| format!("{name} is not a number"))
        };
        self.text(name).map_or(Ok(default), parse)
    }

    fn millis(self, name: &str, default: usize) -> Result<Duration> {
        Ok(Duration::from_millis(self.number(name, default)? as u64))
    }
}

/// Records a request and answers it. What fails becomes a 500 with the reason: this is a test's server.
pub async fn answer(
    upstream: &Upstream,
    on: Connection,
    request: Request<Incoming>,
) -> Response<Body> {
    match try_answer(upstream, on, request).await {
        Ok(answer) => answer,
        Err(error) => status(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")),
    }
}

async fn try_answer(
    upstream: &Upstream,
    on: Connection,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    if request.uri().path() == "/websocket" {
        return websocket::answer(upstream, on, request);
    }
    if let Some(models) = upstream
        .models()
        .filter(|_| models::socket::is_asked(&request))
    {
        return models::socket::answer(upstream, models, on, request);
    }
    let (head, incoming) = request.into_parts();
    let path = head.uri.path();
    let site = upstream.sites().of(&head);
    let keep = if site.is_some() || path.starts_with("/git/") {
        git::BODY_MAX
    } else if upstream.models().is_some() {
        models::BODY_MAX
    } else {
        record::BODY_MAX
    };
    let received = if incoming.is_end_stream() {
        Received {
            complete: true,
            ..Received::default()
        }
    } else {
        Received::read(incoming, keep).await
    };
    upstream.recorder().record(on, &head, &received)?;

    if let Some(site) = site {
        return site.answer(&head, &received).await;
    }
    if let Some(answer) = upstream.table().answer(&head)? {
        return Ok(answer);
    }
    if path == site::GATE {
        upstream.sites().open_gate();
        return Ok(text("open\n"));
    }
    if let Some(how) = path.strip_prefix("/echo/") {
        let answer = echo::answer(&head, how)?.unwrap_or_else(not_found);
        return with_length(&head, answer).await;
    }
    if let Some(repository) = path.strip_prefix("/git") {
        return match upstream.git() {
            Some(git) => git.answer(&head, repository, &received).await,
            None => Ok(not_found()),
        };
    }
    let said = upstream
        .models()
        .map(|models| models.answer(&head, &received));
    match said.transpose()?.flatten() {
        Some(answer) => Ok(answer),
        None => by_name(on, &head, &received).await,
    }
}

async fn by_name(on: Connection, head: &Parts, received: &Received) -> Result<Response<Body>> {
    let query = Query::of(head);
    let (name, rest) = head
        .uri
        .path()
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or_else(|| (head.uri.path().trim_start_matches('/'), ""));
    Ok(match name {
        "" => bytes(DEFAULT_BYTES),
        "bytes" => bytes(rest.parse().context("not a number of bytes")?),
        "json" => typed(
            "application/json",
            body::full(record::json(on, head, received)),
        ),
        "sse" => events(head)?,
        "slow" => {
            tokio::time::sleep(query.millis("ms", 1000)?).await;
            text("slow\n")
        }
        "drip" => drip(query)?,
        "redirect" => {
            let mut answer = status(StatusCode::FOUND, "over there\n");
            let to = query.text("to").context("to where")?;
            answer.headers_mut().insert(LOCATION, to.parse()?);
            answer
        }
        "status" => status(rest.parse().context("not a status")?, "as you asked\n"),
        "close" => {
            let mut answer = typed("text/plain", body::broken(&b"the beginning "[..]));
            answer
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("1000"));
            answer
        }
        "upload" => {
            let seen = serde_json::json!({"bytes": received.bytes, "complete": received.complete});
            typed("application/json", body::full(seen.to_string()))
        }
        _ => not_found(),
    })
}

fn bytes(count: usize) -> Response<Body> {
    let count = count.min(BYTES_MAX);
    typed("application/octet-stream", body::repeated(count))
}

fn events(head: &Parts) -> Result<Response<Body>> {
    let query = Query::of(head);
    let count = match query.number("n", 0)? {
        0 => usize::MAX,
        count => count,
    };
    let secret = String::from_utf8_lossy(&echo::credential(head)).into_owned();
    let echoed = query.text("echo").is_some();
    let event = move |id| match echoed {
        true => Bytes::from(format!("id: {id}\ndata: you sent {secret}\n\n")),
        false => Bytes::from(format!("id: {id}\ndata: event {id}\n\n")),
    };
    let events = stream::iter((1..=count).map(event));
    let events = body::paced(events, query.millis("interval_ms", 100)?);
    Ok(typed("text/event-stream", events))
}

fn drip(query: Query<'_>) -> Result<Response<Body>> {
    let drops = stream::iter(vec![
        Bytes::from_static(b".");
        query.number("n", 10)?.min(DRIPS_MAX)
    ]);
    Ok(typed(
        "text/plain",
        body::paced(drops, query.millis("ms", 50)?),
    ))
}

/// Announces the length of a body that would be chunked, if the query asks for it. The pieces stay as they are.
async fn with_length(head: &Parts, mut answer: Response<Body>) -> Result<Response<Body>> {
    use http_body_util::BodyExt as _;
    if Query::of(head).text("length").is_none() {
        return Ok(answer);
    }
    let mut pieces = Vec::new();
    while let Some(frame) = answer.body_mut().frame().await {
        pieces.extend(frame?.into_data());
    }
    let length: usize = pieces.iter().map(Bytes::len).sum();
    answer
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    *answer.body_mut() = body::pieces(pieces);
    Ok(answer)
}

/// An answer with a type.
pub fn typed(content_type: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A status with a sentence.
pub fn status(status: StatusCode, sentence: impl Into<Bytes>) -> Response<Body> {
    let mut answer = typed("text/plain", body::full(sentence));
    *answer.status_mut() = status;
    answer
}

fn text(sentence: &'static str) -> Response<Body> {
    typed("text/plain", body::full(sentence))
}

fn not_found() -> Response<Body> {
    status(StatusCode::NOT_FOUND, "no such path\n")
}
