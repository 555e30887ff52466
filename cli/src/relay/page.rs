//! The gateway's own pages, for whoever holds a session: the tenant's authority, and what can be reached.
//!
//! Invariants: the token goes to the gateway that was named and to nobody else. A page is read up to a bound and within
//! a deadline. Over plain HTTP a page is worth as much as the network that it came through: who asks says so.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::header::{HOST, PROXY_AUTHORIZATION};
use hyper::{Request, StatusCode};
use sortie_proto::code::Code;
use sortie_proto::secret::Secret;
use tokio::time::timeout;

use super::answer::{Own, nothing};
use super::gateway::{Gateway, Trust};
use super::token::Token;
use crate::error::{Error, Problem, Result};
use crate::tasks::Crew;

/// The longest page, in bytes.
const PAGE_MAX: usize = 4 * 1024 * 1024;
/// How long a page may take: the gateway may have to ask control for the vault first.
const DEADLINE: Duration = Duration::from_secs(30);
/// The gateway's own name.
const GUIDE: &str = "sortie.internal";

/// A gateway, and who asks it.
#[derive(Debug)]
pub(crate) struct Guide<'a> {
    /// Its URL.
    pub(crate) proxy: &'a str,
    /// The authority of its certificate.
    pub(crate) gateway_ca: Option<&'a Path>,
    /// The session's token.
    pub(crate) token: &'a Secret,
}

impl Guide<'_> {
    /// Reads a page, e.g. `/ca.pem`.
    ///
    /// # Errors
    /// [`Error::Problem`] if the gateway refuses the session, [`Error::Failed`] if there is no page to be had.
    pub(crate) async fn read(&self, path: &str) -> Result<String> {
        let crew = Crew::default();
        let read = timeout(DEADLINE, Box::pin(self.ask(path, &crew))).await;
        crew.end();
        read.unwrap_or_else(|_elapsed| Err(self.failed("did not answer in time")))
    }

    async fn ask(&self, path: &str, crew: &Crew) -> Result<String> {
        let trust = || Trust::new(self.gateway_ca);
        let gateway = Gateway::new(self.proxy, trust, crew.clone())?;
        let request = Request::builder()
            .uri(format!("http://{GUIDE}{path}"))
            .header(HOST, GUIDE)
            .header(PROXY_AUTHORIZATION, Token::read(self.token)?.authorization)
            .body(nothing())
            .map_err(|error| Error::Usage(error.to_string()))?;
        let opened = gateway.forward(request).await;
        let response = match opened.map_err(Own::from) {
            Ok(opened) => opened.response,
            Err(Own::Untrusted) => {
                return Err(Error::failed(
                    format!("the certificate of {} is not trusted", self.proxy),
                    "Name the authority that signed it with --gateway-ca FILE.",
                ));
            }
            Err(Own::Unreachable | Own::Password) => return Err(self.failed("cannot be reached")),
        };
        let status = response.status();
        let code = response.headers().get("x-sortie-code");
        let code = code.and_then(|code| Code::from_name(code.to_str().ok()?));
        if let Some(code) = code {
            return Err(refused(status, code));
        }
        if status != StatusCode::OK {
            return Err(self.failed("does not answer as a gateway of Sortie does"));
        }
        let page = Limited::new(response.into_body(), PAGE_MAX).collect().await;
        let page = page.map_err(|_broken| self.failed("broke off its answer"))?;
        String::from_utf8(page.to_bytes().into()).or(Err(self.failed("answered no text")))
    }

    fn failed(&self, what: &str) -> Error {
        Error::failed(
            format!("the gateway at {} {what}", self.proxy),
            "Is this the gateway? --proxy or SORTIE_PROXY names another one.",
        )
    }
}

fn refused(status: StatusCode, code: Code) -> Error {
    Error::Problem(Box::new(Problem {
        title: "the gateway refuses the session".to_owned(),
        status: status.as_u16(),
        code: code.name().to_owned(),
        ..Problem::default()
    }))
}
