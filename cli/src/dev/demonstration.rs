//! The demonstration: two requests of the system's curl through the gateway, and what came of them.
//!
//! Invariant: the token reaches curl by a private file: arguments show in `ps`, and so does the environment to some.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::layout::Layout;
use super::seed::{CREDENTIAL, Demo};
use super::upstream::fingerprint;
use crate::config::write_private;
use crate::error::{Error, Result};
use crate::output::printable;

/// How long one request may take, in seconds.
const CURL_SECONDS: u64 = 30;
/// How much of an answer that is not understood is shown, in characters.
const SHOWN_MAX: usize = 600;

/// What was seen.
#[derive(Debug)]
pub(super) struct Shown {
    /// `Authorization` as the upstream told it.
    pub(super) received: String,
    /// The fingerprint of the stored value.
    pub(super) stored: String,
    /// `Authorization` as the echo came back.
    pub(super) echoed: String,
    /// The header with the placeholder, as the echo came back.
    pub(super) echoed_placeholder: String,
}

impl Shown {
    /// Whether it shows what it should.
    ///
    /// # Errors
    /// [`Error::Failed`] with what is wrong.
    pub(super) fn verdict(&self) -> Result<()> {
        let wrong = |what: &str| {
            Err(Error::failed(
                format!("the demonstration failed: {what}"),
                "The gateway's log says what it did; please report this.",
            ))
        };
        if self.received != format!("Bearer {}", self.stored) {
            return wrong("the upstream did not receive the stored credential");
        }
        let is_clear = |text: &str| {
            let value = text.strip_prefix("Bearer ").unwrap_or(text);
            value.is_empty() || fingerprint(value.as_bytes()) == self.stored
        };
        if is_clear(&self.echoed) || is_clear(&self.echoed_placeholder) {
            return wrong("the echoed credential was not masked");
        }
        Ok(())
    }
}

/// Performs it.
///
/// # Errors
/// [`Error::Failed`] if curl fails or the answer is not the demo upstream's.
pub(super) async fn perform(layout: &Layout, demo: &Demo) -> Result<Shown> {
    write_curl_config(layout, demo)?;
    let hello = curl(layout, "/hello", &[]).await?;
    let header = format!("X-Api-Key: {}", placeholder());
    let echo = curl(layout, "/echo", &["--header", &header]).await?;
    Ok(Shown {
        received: field(&hello, "authorization")?,
        stored: demo.fingerprint.clone(),
        echoed: field(&echo, "authorization")?,
        echoed_placeholder: field(&echo, "x-api-key")?,
    })
}

/// What stands for the demo credential.
pub(super) fn placeholder() -> String {
    format!("__{CREDENTIAL}__")
}

fn write_curl_config(layout: &Layout, demo: &Demo) -> Result<()> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = format!(
        "# Private: it holds a session token. Written by `sortie dev` at each start.\n\
         silent\nshow-error\nnoproxy = \"\"\nproxy = \"{}\"\ncacert = \"{}\"\nproxy-user = \"x:",
        layout.proxy(),
        quoted(&layout.demo("ca.pem").to_string_lossy()),
    )
    .into_bytes();
    text.extend_from_slice(demo.token.expose());
    text.extend_from_slice(b"\"\n");
    write_private(&layout.demo("curl.conf"), &text)
}

async fn curl(layout: &Layout, path: &str, more: &[&str]) -> Result<Value> {
    let run = Command::new("curl")
        // First: it keeps the user's own .curlrc out.
        .arg("-q")
        .arg("--config")
        .arg(layout.demo("curl.conf"))
        .args(["--max-time", &CURL_SECONDS.to_string()])
        .args(more)
        .arg(layout.upstream_url(path))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let patience = Duration::from_secs(CURL_SECONDS + 5);
    let ended = match timeout(patience, run).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::failed(
                "curl is not installed",
                "Install it: `apt install curl`.",
            ));
        }
        Ok(Err(source)) => return Err(Error::system("run curl", source)),
        Err(_) => return Err(failure(layout, "curl did not end in time")),
    };
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        let what = format!(
            "the brokered request failed: {}",
            printable(said.trim(), true)
        );
        return Err(failure(layout, &what));
    }
    serde_json::from_slice(&ended.stdout).map_err(|error| {
        let said = shorten(&String::from_utf8_lossy(&ended.stdout));
        failure(layout, &format!("the answer is not JSON ({error}): {said}"))
    })
}

fn field(answer: &Value, name: &str) -> Result<String> {
    match answer
        .pointer("/headers")
        .and_then(|headers| headers.get(name))
    {
        Some(Value::String(text)) => Ok(printable(text, false)),
        _ => Err(Error::failed(
            format!(
                "the answer is not the demo upstream's: {}",
                shorten(&answer.to_string())
            ),
            "If it is a refusal, its `message` says what to do; the gateway's log says more.",
        )),
    }
}

fn shorten(text: &str) -> String {
    printable(text, true).chars().take(SHOWN_MAX).collect()
}

fn failure(layout: &Layout, what: &str) -> Error {
    Error::failed(
        what,
        format!("The gateway's log is {}.", layout.gateway_log().display()),
    )
}

#[cfg(test)]
mod tests;
