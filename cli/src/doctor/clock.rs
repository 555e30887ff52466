//! This machine's clock against others': TLS, sessions and signatures fail where they differ. Pure.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::environment::Times;
use super::finding::Finding;

/// How far clocks may be apart, in seconds. A `Date` has whole seconds, and arrives late.
const SKEW_MAX: i64 = 60;

const FIX: &str = "sudo timedatectl set-ntp true";

/// Compares with the `Date` of an answer. `now` is in seconds since the Unix epoch.
pub(super) fn against_date(now: i64, date: &str, whose: &str) -> Finding {
    match DateTimeParser::new().parse_timestamp(date) {
        Ok(there) => compare(now, there.as_second(), whose),
        Err(_) => Finding::skipped("clock", format!("the Date of {whose} cannot be read")),
    }
}

fn compare(now: i64, there: i64, whose: &str) -> Finding {
    let apart = now.saturating_sub(there);
    if apart.abs() <= SKEW_MAX {
        return Finding::ok("clock", format!("within {SKEW_MAX} s of {whose}"));
    }
    Finding::fault("clock", apart_by(apart, whose), FIX)
}

fn apart_by(apart: i64, whose: &str) -> String {
    let (side, seconds) = if apart > 0 {
        ("ahead of", apart)
    } else {
        ("behind", apart.saturating_neg())
    };
    format!("this machine's clock is {seconds} s {side} {whose}")
}

/// Compares with the times of the session's token. A token that was minted later than now, or that the gateway accepts
/// after its end, says that the clock is wrong. `None` where it says nothing.
pub(super) fn against_token(now: i64, times: Times, is_accepted: bool) -> Option<Finding> {
    if now < times.iat.saturating_sub(SKEW_MAX) {
        let seen = apart_by(now.saturating_sub(times.iat), "the session's start");
        return Some(Finding::fault("clock", seen, FIX));
    }
    if is_accepted && now > times.exp.saturating_add(SKEW_MAX) {
        let ahead = apart_by(
            now.saturating_sub(times.exp),
            "the end of the session, which the gateway still accepts",
        );
        return Some(Finding::fault("clock", ahead, FIX));
    }
    None
}

/// Now, in seconds since the Unix epoch.
pub(super) fn now() -> i64 {
    Timestamp::now().as_second()
}

#[cfg(test)]
mod tests;
