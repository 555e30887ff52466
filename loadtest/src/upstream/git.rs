//! Repositories over HTTP: `git http-backend` as a CGI program (RFC 3875) behind Basic authentication.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::answer::status;
use super::body::{self, Body, Received};

/// The longest request body, in bytes: a pack that a test pushes.
pub const BODY_MAX: usize = 64 * 1024 * 1024;

/// A folder of bare repositories.
#[derive(Debug)]
pub struct Repositories {
    root: PathBuf,
    password: String,
}

impl Repositories {
    /// Serves a folder to whoever has the password.
    #[must_use]
    pub fn new(root: PathBuf, password: String) -> Self {
        Self { root, password }
    }

    /// Answers a request for a path below the root.
    ///
    /// # Errors
    /// When the program cannot be run or says something that is not CGI.
    pub async fn answer(
        &self,
        head: &Parts,
        path: &str,
        received: &Received,
    ) -> Result<Response<Body>> {
        let Some(user) = self.user(&head.headers) else {
            let mut answer = status(StatusCode::UNAUTHORIZED, "a password is needed\n");
            let challenge = HeaderValue::from_static("Basic realm=\"git\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return Ok(answer);
        };
        if received.bytes > BODY_MAX as u64 {
            return Ok(status(StatusCode::PAYLOAD_TOO_LARGE, "too large\n"));
        }
        let output = self.run(head, path, &user, &received.kept).await?;
        parse(&output.into())
    }

    fn user(&self, headers: &HeaderMap) -> Option<String> {
        let basic = headers
            .get(AUTHORIZATION)?
            .to_str()
            .ok()?
            .strip_prefix("Basic ")?;
        let pair = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
        let (user, password) = pair.split_once(':')?;
        (password == self.password).then(|| user.to_owned())
    }

    async fn run(&self, head: &Parts, path: &str, user: &str, input: &Bytes) -> Result<Vec<u8>> {
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let mut child = Command::new("git")
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            // The folder may belong to another user than the one who runs the test.
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("PATH_INFO", path)
            .env("REQUEST_METHOD", head.method.as_str())
            .env("QUERY_STRING", head.uri.query().unwrap_or_default())
            .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
            .env("CONTENT_LENGTH", input.len().to_string())
            .env(
                "HTTP_CONTENT_ENCODING",
                header("content-encoding").unwrap_or_default(),
            )
            .env(
                "HTTP_GIT_PROTOCOL",
                header("git-protocol").unwrap_or_default(),
            )
            .env("REMOTE_USER", user)
            .env("REMOTE_ADDR", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run git http-backend")?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        let (written, output) = tokio::join!(
            async move { stdin.write_all(input).await },
            child.wait_with_output(),
        );
        // A backend that refuses does not read its input: what it says is the answer.
        drop(written);
        Ok(output?.stdout)
    }
}

fn parse(output: &Bytes) -> Result<Response<Body>> {
    let Some(end) = output.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        bail!("git http-backend gave no head");
    };
    let head = std::str::from_utf8(output.get(..end).unwrap_or_default())?;
    let mut answer = Response::new(body::full(output.slice(end + 4..)));
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(": ").context("not a header of CGI")?;
        if name.eq_ignore_ascii_case("status") {
            let digits = value.split(' ').next().unwrap_or_default();
            *answer.status_mut() = digits.parse()?;
        } else {
            let name: HeaderName = name.parse()?;
            answer.headers_mut().append(name, value.parse()?);
        }
    }
    Ok(answer)
}
