//! Limits as arguments and as a column: `--limit requests=600/minute:50`.
//!
//! What an admin names takes the place of all limits of that subject, as in the API.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::config::Context;

/// What a subject may use, as arguments.
#[derive(Debug, Default, Args)]
pub(crate) struct Limits {
    /// What it may use: `requests=RATE`, `bytes=RATE`, `concurrency=COUNT`, or `none`; may be repeated
    ///
    /// A RATE is COUNT/PERIOD or COUNT/PERIOD:BURST, such as 600/minute:50 or 10GiB/day. All limits that it had are
    /// replaced.
    #[arg(long = "limit", value_name = "KIND=VALUE", value_parser = limit)]
    limits: Vec<Limit>,
}

/// What each session of a subject may use, as arguments.
#[derive(Debug, Default, Args)]
pub(crate) struct SessionLimits {
    /// What each of its sessions may use, in the same words; may be repeated
    #[arg(long = "session-limit", value_name = "KIND=VALUE", value_parser = limit)]
    session_limits: Vec<Limit>,
}

impl Limits {
    /// The field of a body; `None` if nothing was named.
    pub(crate) fn field(&self) -> Option<Value> {
        field(&self.limits)
    }
}

impl SessionLimits {
    /// The field of a body; `None` if nothing was named.
    pub(crate) fn field(&self) -> Option<Value> {
        field(&self.session_limits)
    }
}

fn field(limits: &[Limit]) -> Option<Value> {
    let named = limits.iter().filter_map(|limit| match limit {
        Limit::None => None,
        Limit::Of(kind, value) => Some(((*kind).to_owned(), value.clone())),
    });
    (!limits.is_empty()).then(|| named.collect::<Map<_, _>>().into())
}

#[derive(Debug, Clone, PartialEq)]
enum Limit {
    None,
    Of(&'static str, Value),
}

fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit::None);
    }
    match text.split_once('=') {
        Some(("requests", rate)) => Ok(Limit::Of("requests", self::rate(rate, count)?)),
        Some(("bytes", rate)) => Ok(Limit::Of("bytes", self::rate(rate, bytes)?)),
        Some(("concurrency", text)) => {
            let count: u32 = text.parse().or(Err("write a number of requests"))?;
            Ok(Limit::Of("concurrency", count.into()))
        }
        _ => Err("write requests=600/minute, bytes=10GiB/day, concurrency=64, or none".to_owned()),
    }
}

/// Reads `600/minute:50`.
fn rate(text: &str, number: fn(&str) -> Option<u64>) -> Result<Value, String> {
    let wrong = "write COUNT/PERIOD or COUNT/PERIOD:BURST, such as 600/minute:50; the period is second, minute, hour or day";
    let (count, rest) = text.split_once('/').ok_or(wrong)?;
    let (per, burst) = match rest.split_once(':') {
        Some((per, burst)) => (per, Some(number(burst).ok_or(wrong)?)),
        None => (rest, None),
    };
    let per = match per {
        "s" => "second",
        "m" | "min" => "minute",
        "h" => "hour",
        "d" => "day",
        per => per,
    };
    let mut rate = json!({"count": number(count).ok_or(wrong)?, "per": per});
    if let (Some(burst), Some(fields)) = (burst, rate.as_object_mut()) {
        fields.insert("burst".to_owned(), burst.into());
    }
    Ok(rate)
}

fn count(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Reads `512`, `10MiB`, `10MB`.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, unit) = text.split_at_checked(end.unwrap_or(text.len()))?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// Readies a subject for a table; programs read what control answered, as it is.
pub(super) fn shown(subject: &mut Value, context: &Context) {
    if !context.out.is_json() {
        summarise(subject);
    }
}

/// Puts what a subject may use beside its other fields, in the words of the arguments: at `/limited`, and at
/// `/sessions_limited` for its sessions.
pub(crate) fn summarise(subject: &mut Value) {
    let (own, sessions) = (words(subject, "/limits"), words(subject, "/session_limits"));
    if let Some(fields) = subject.as_object_mut() {
        fields.insert("limited".to_owned(), own.into());
        fields.insert("sessions_limited".to_owned(), sessions.into());
    }
}

fn words(subject: &Value, at: &str) -> Vec<String> {
    let Some(limits) = subject.pointer(at).and_then(Value::as_object) else {
        return Vec::new();
    };
    let word = |(kind, limit): (&String, &Value)| {
        let number = |name| limit.get(name).and_then(Value::as_u64);
        let Some(per) = limit.get("per").and_then(Value::as_str) else {
            return format!("{kind}={limit}");
        };
        let count = number("count").unwrap_or_default();
        match number("burst") {
            Some(burst) if burst != count => format!("{kind}={count}/{per}:{burst}"),
            Some(_) | None => format!("{kind}={count}/{per}"),
        }
    };
    limits.iter().map(word).collect()
}

#[cfg(test)]
mod tests;
