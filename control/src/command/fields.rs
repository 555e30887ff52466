//! What fields may hold. Problems are collected, so that a caller hears of all of them at once.

use std::fmt::Display;
use std::net::IpAddr;
use std::num::NonZeroU32;

use ipnet::IpNet;
use jiff::Timestamp;
use sortie_proto::limits::{Limits, Period, Rate};
use sortie_proto::wire::v1;

use crate::error::{Error, Result};

/// The problems of a request, each with the path of its field.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<(String, String)>);

impl Problems {
    /// Adds one.
    pub(super) fn add(&mut self, field: impl Into<String>, message: impl Display) {
        self.0.push((field.into(), message.to_string()));
    }

    /// Takes the value of a check, or adds its problem.
    pub(super) fn take<T, E: Display>(
        &mut self,
        field: impl Into<String>,
        checked: std::result::Result<T, E>,
    ) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(message) => {
                self.add(field, message);
                None
            }
        }
    }

    /// Fails if there is any.
    ///
    /// # Errors
    /// `invalid_argument` with all of them.
    pub(super) fn finish(self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Error::fields(self.0))
        }
    }
}

type Checked<T> = std::result::Result<T, &'static str>;

/// A name of a tenant, vault, service or agent: `[a-z0-9][a-z0-9-]{0,62}`, as a DNS label.
pub(super) fn name(text: &str) -> Checked<()> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=63).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(is_inner) {
        Ok(())
    } else {
        Err("must be 1 to 63 lower-case letters, digits and hyphens, and not begin with a hyphen")
    }
}

/// A name for people to read: of an API key.
pub(super) fn title(text: &str) -> Checked<()> {
    if (1..=128).contains(&text.len()) && is_text(text) {
        Ok(())
    } else {
        Err("must be 1 to 128 bytes without control characters")
    }
}

/// Whether a text has nothing that could forge a line of a log or turn its direction.
pub(super) fn is_text(text: &str) -> bool {
    let is_turn = |found: char| matches!(found, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !text
        .chars()
        .any(|found| found.is_control() || is_turn(found))
}

/// A placeholder: `[A-Za-z0-9_.~-]{4,128}`.
pub(super) fn placeholder(text: &str) -> Checked<()> {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.~-".contains(&byte);
    if (4..=128).contains(&text.len()) && text.bytes().all(is_inner) {
        Ok(())
    } else {
        Err("must be 4 to 128 of letters, digits and _ . ~ -")
    }
}

/// Methods: upper-case tokens (RFC 9110, 9.1), at most 16.
pub(super) fn methods(methods: &[String]) -> Checked<()> {
    let is_method = |method: &String| {
        (1..=32).contains(&method.len())
            && method
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'-')
    };
    if methods.len() > 16 || !methods.iter().all(is_method) {
        return Err("must be at most 16 method names in upper case");
    }
    if methods.iter().any(|method| method == "CONNECT") {
        return Err("CONNECT is not a method of a service");
    }
    Ok(())
}

/// A port; 0 is none.
pub(super) fn port(port: u32) -> Checked<Option<u16>> {
    match u16::try_from(port) {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err("must be 1 to 65,535"),
    }
}

/// A network, with the host's bits cleared; an address alone is the network of that address.
pub(super) fn network(text: &str) -> Checked<IpNet> {
    let net = text
        .parse()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(|net: IpNet| net.trunc())
        .or(Err("must be a network such as 10.1.0.0/16 or fd00::/8"))
}

/// An instant in RFC 3339; empty is none.
pub(super) fn instant(text: &str) -> Checked<Option<Timestamp>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .or(Err("must be a time such as 2026-01-31T12:00:00Z"))
}

/// How long a session lasts, in seconds; 0 is the default.
pub(super) fn ttl(seconds: u32) -> Checked<i64> {
    let (least, most) = (super::TTL_MIN.as_secs(), super::TTL_MAX.as_secs());
    let seconds = match u64::from(seconds) {
        0 => super::TTL_DEFAULT.as_secs(),
        seconds => seconds,
    };
    if (least..=most).contains(&seconds) {
        i64::try_from(seconds).or(Err("is out of range"))
    } else {
        Err("must be 60 to 604,800 seconds")
    }
}

/// An instant in RFC 3339; none is empty.
pub(super) fn show(instant: Option<Timestamp>) -> String {
    instant.map_or_else(String::new, |instant| instant.to_string())
}

/// Limits as callers write them; `at` is their field.
pub(super) fn limits(problems: &mut Problems, at: &str, spec: v1::LimitsSpec) -> Limits {
    let mut rate = |name: &str, spec: Option<v1::RateSpec>| {
        let spec = spec?;
        let per = Period::from_name(&spec.per).ok_or("must be `second`, `minute`, `hour` or `day`");
        let per = problems.take(format!("{at}.{name}.per"), per)?;
        let burst = if spec.burst == 0 {
            spec.count
        } else {
            spec.burst
        };
        problems.take(format!("{at}.{name}"), Rate::new(spec.count, per, burst))
    };
    Limits {
        requests: rate("requests", spec.requests),
        bytes: rate("bytes", spec.bytes),
        concurrency: NonZeroU32::new(spec.concurrency),
    }
}
