//! A thin client of control's REST API: paths, the key, pages, problems.
//!
//! Invariants: the key is sent to the one base URL, never in the clear beyond this machine unless asked to, and never
//! after a redirect. An answer is read up to a bound.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, DATE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::Value;
use sortie_proto::secret::Secret;

use crate::error::{Error, Problem, Result};

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a call may take as a whole: longer than control gives itself, so that its answer arrives.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How many objects one page asks for.
const PAGE_SIZE: usize = 200;

/// What is said where a key is needed and there is none.
pub(crate) const NO_KEY: &str = "there is no API key: set SORTIE_API_KEY_FILE to the file that holds it, add a profile \
                                 (`sortie profile add`), or start `sortie dev`, which adds one";

/// Speaks to one control with one key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    has_key: bool,
}

impl Client {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Config`] if the URL or the key cannot be used.
    pub(crate) fn new(base: &str, key: &Secret, allow_http: bool) -> Result<Self> {
        let mut bearer = b"Bearer ".to_vec();
        bearer.extend_from_slice(key.expose());
        let mut value = HeaderValue::from_bytes(&bearer).or(Err(Error::Config(
            "the API key has bytes that no key has".to_owned(),
        )))?;
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        Self::with(headers, read_base(base, allow_http)?)
    }

    /// One that has no key, for what a session alone can do: every call is refused here.
    ///
    /// # Errors
    /// [`Error::Config`] if the URL cannot be used.
    pub(crate) fn without_key(base: &str) -> Result<Self> {
        // Nothing is sent, so nothing is sent in the clear.
        Self::with(HeaderMap::new(), read_base(base, true)?)
    }

    fn with(headers: HeaderMap, base: Url) -> Result<Self> {
        let has_key = headers.contains_key(AUTHORIZATION);
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .timeout(CALL_TIMEOUT);
        if is_loopback(&base) {
            // A proxy of the environment, a gateway above all, is not the way to this machine.
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Error::Config(format!("cannot make an HTTP client: {error}")))?;
        Ok(Self {
            http,
            base,
            has_key,
        })
    }

    /// Whether it can ask control anything.
    pub(crate) const fn has_key(&self) -> bool {
        self.has_key
    }

    /// The address of the API.
    pub(crate) fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The host of the API.
    pub(crate) fn host(&self) -> Option<&str> {
        self.base.host_str()
    }

    /// GET.
    pub(crate) async fn get(&self, path: &[&str]) -> Result<Value> {
        self.call(Method::GET, self.url(path, "")?, None).await
    }

    /// POST; `verb` is what follows the path, e.g. `:revoke`, or nothing.
    pub(crate) async fn post(&self, path: &[&str], verb: &str, body: &Value) -> Result<Value> {
        self.call(Method::POST, self.url(path, verb)?, Some(body))
            .await
    }

    /// PUT.
    pub(crate) async fn put(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.call(Method::PUT, self.url(path, "")?, Some(body))
            .await
    }

    /// PATCH.
    pub(crate) async fn patch(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.call(Method::PATCH, self.url(path, "")?, Some(body))
            .await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<Value> {
        self.call(Method::DELETE, self.url(path, "")?, None).await
    }

    /// Follows the pages of a list until there are `limit` objects or no more.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        field: &str,
        filter: &[(&str, String)],
        limit: usize,
    ) -> Result<Vec<Value>> {
        let mut objects = Vec::new();
        let mut token = String::new();
        loop {
            let mut url = self.url(path, "")?;
            let size = PAGE_SIZE.min(limit.saturating_sub(objects.len()));
            url.query_pairs_mut()
                .extend_pairs(filter.iter().filter(|(_, value)| !value.is_empty()))
                .append_pair("page_size", &size.to_string());
            if !token.is_empty() {
                url.query_pairs_mut().append_pair("page_token", &token);
            }
            let mut page = self.call(Method::GET, url, None).await?;
            if let Some(Value::Array(items)) = page.get_mut(field).map(Value::take) {
                objects.extend(items);
            }
            let next = page.get("next_page_token").and_then(Value::as_str);
            match next {
                Some(next) if !next.is_empty() && next != token && objects.len() < limit => {
                    token = next.to_owned();
                }
                _ => break,
            }
        }
        objects.truncate(limit);
        Ok(objects)
    }

    /// The `Date` of whatever is answered to a GET.
    pub(crate) async fn date(&self, path: &[&str]) -> Result<Option<String>> {
        let url = self.url(path, "")?;
        let asked = self.http.get(url).send().await;
        let answer = asked.map_err(|source| Error::Unreachable {
            url: self.base().to_owned(),
            source: source.without_url(),
        })?;
        let date = answer.headers().get(DATE);
        Ok(date.and_then(|date| date.to_str().ok()).map(str::to_owned))
    }

    /// GET of a text, e.g. a certificate.
    pub(crate) async fn text(&self, path: &[&str], accept: &'static str) -> Result<String> {
        let url = self.url(path, "")?;
        let request = self.http.get(url.clone()).header(ACCEPT, accept);
        let (status, body) = self.send(request, &url).await?;
        if !status.is_success() {
            return Err(self.refusal(status.as_u16(), &body, &url));
        }
        String::from_utf8(body).or(Err(self.odd(&url, "something that is not text")))
    }

    async fn call(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Value> {
        let mut request = self
            .http
            .request(method, url.clone())
            .header(ACCEPT, "application/json, application/problem+json");
        if let Some(body) = body {
            request = request.json(body);
        }
        let (status, answer) = self.send(request, &url).await?;
        if !status.is_success() {
            return Err(self.refusal(status.as_u16(), &answer, &url));
        }
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).or(Err(self.odd(&url, "something that is not JSON")))
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        url: &Url,
    ) -> Result<(reqwest::StatusCode, Vec<u8>)> {
        let unreachable = |source: reqwest::Error| Error::Unreachable {
            url: self.base().to_owned(),
            source: source.without_url(),
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.odd(url, "more than 32 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }

    fn refusal(&self, status: u16, body: &[u8], url: &Url) -> Error {
        match serde_json::from_slice::<Problem>(body) {
            Ok(mut problem) if !(problem.code.is_empty() && problem.title.is_empty()) => {
                problem.status = status;
                problem.subject = subject(url);
                Error::Problem(Box::new(problem))
            }
            _ if matches!(status, 401 | 403 | 404 | 502..=504) => {
                Error::Problem(Box::new(Problem {
                    status,
                    title: format!("{} refused", url.path()),
                    ..Problem::default()
                }))
            }
            _ => self.odd(url, &format!("HTTP {status}")),
        }
    }

    fn odd(&self, url: &Url, what: &str) -> Error {
        Error::Answer {
            url: format!("{}{}", self.base(), url.path()),
            what: what.to_owned(),
        }
    }

    fn url(&self, path: &[&str], verb: &str) -> Result<Url> {
        if !self.has_key {
            return Err(Error::Config(NO_KEY.to_owned()));
        }
        join(&self.base, path, verb)
    }
}

/// What a call was about, as far as the caller named it: `vaults/payments`, for example.
fn subject(url: &Url) -> String {
    // `/v1/tenants/TENANT` is the same for nearly all.
    let named: Vec<_> = url
        .path_segments()
        .into_iter()
        .flatten()
        .skip_while(|part| *part != "tenants")
        .skip(2)
        .collect();
    named.join("/")
}

fn read_base(text: &str, allow_http: bool) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| {
        Error::Config(format!("the API's URL `{text}` cannot be read: {error}"))
    })?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&url) => Ok(url),
        "http" => Err(Error::Config(format!(
            "{text} would send the key over the network in the clear: use https, or --allow-http if that network is \
             yours alone"
        ))),
        _ => Err(Error::Config(format!(
            "the API's URL is https://HOST, not `{text}`"
        ))),
    }
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

/// Segments are encoded one by one: a name with a slash stays one segment. Dot segments would change the path.
fn join(base: &Url, path: &[&str], verb: &str) -> Result<Url> {
    if let Some(odd) = path.iter().find(|part| matches!(**part, "" | "." | "..")) {
        return Err(Error::Usage(format!("`{odd}` is not a name")));
    }
    let mut url = base.clone();
    let (last, front) = path
        .split_last()
        .map_or(("", path), |(last, front)| (*last, front));
    url.path_segments_mut()
        .or(Err(Error::Config("the API's URL has no path".to_owned())))?
        .pop_if_empty()
        .push("v1")
        .extend(front)
        .push(&format!("{last}{verb}"));
    Ok(url)
}

#[cfg(test)]
mod tests;
