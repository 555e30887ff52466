//! Reads what a runtime printed: an answer, or why there was none. Pure.

use super::super::gateway::MARK;
use super::process::Ended;

/// What came of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An HTTP answer.
    Reached { status: u16, is_marked: bool },
    /// The client is not installed.
    Absent,
    /// No answer.
    Failed(Why),
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its time was up.
    Late,
    /// The certificate was refused.
    Trust,
    /// The proxy wants credentials.
    Credentials,
    /// It looked for the host by itself: it knows of no proxy.
    Past,
    /// Nobody listens, or the way is closed.
    Connect,
    /// Anything else.
    Other,
}

/// One of our programs: `reached STATUS NAME,NAME`, `absent`, or an error.
pub(super) fn line(ended: &Ended) -> Outcome {
    for line in ended.stdout.lines() {
        if line == "absent" {
            return Outcome::Absent;
        }
        let Some(rest) = line.strip_prefix("reached ") else {
            continue;
        };
        let (status, names) = rest.split_once(' ').unwrap_or((rest, ""));
        if let Ok(status) = status.parse() {
            let is_marked = names.split(',').any(is_mark);
            return Outcome::Reached { status, is_marked };
        }
    }
    Outcome::Failed(why(ended))
}

/// A program that shows headers among other things. The last answer counts, but not that of CONNECT.
pub(super) fn headers(ended: &Ended) -> Outcome {
    let mut reached = None;
    for line in ended.stdout.lines().chain(ended.stderr.lines()) {
        let line = field(line);
        if let Some((status, phrase)) = status_line(line) {
            let is_connect = status == 200 && phrase.eq_ignore_ascii_case("connection established");
            reached = (!is_connect && status != 407).then_some((status, false));
        } else if let (Some((_, is_marked)), Some((name, _))) = (&mut reached, line.split_once(':'))
        {
            *is_marked |= is_mark(name.trim());
        }
    }
    match reached {
        Some((status, is_marked)) => Outcome::Reached { status, is_marked },
        None => cargo(ended).unwrap_or_else(|| Outcome::Failed(why(ended))),
    }
}

/// A program that tells the status in a sentence of its own, and nothing of the header. Only Sortie knows the host that it
/// is asked for: any other proxy would answer that it cannot reach it (502), so a 404 is Sortie's.
pub(super) fn words_of_its_own(ended: &Ended) -> Outcome {
    /// What stands before a status, of npm, uv and the AWS CLI.
    const BEFORE: [&str; 3] = [
        "npm http fetch GET ",
        "HTTP status client error (",
        "An error occurred (",
    ];
    /// What uv says of an answer without the package.
    const NOT_THERE: &str = "was not found in the package registry";

    let said = [&ended.stdout, &ended.stderr];
    let status = said.iter().find_map(|text| {
        BEFORE.iter().find_map(|before| {
            let (_, rest) = text.split_once(before)?;
            let end = rest.find(|c: char| !c.is_ascii_digit());
            rest.get(..end.unwrap_or(rest.len()))?.parse().ok()
        })
    });
    let is_missing = said.iter().any(|text| text.contains(NOT_THERE));
    match status.or_else(|| is_missing.then_some(404)) {
        Some(status) => Outcome::Reached {
            status,
            is_marked: status == 404,
        },
        None => Outcome::Failed(why(ended)),
    }
}

/// A line of a header, without what git and wget put in front of it.
fn field(line: &str) -> &str {
    const GIT: &str = "<= Recv header: ";

    match line.split_once(GIT) {
        Some((_, field)) => field,
        None => line.trim_start(),
    }
}

fn status_line(line: &str) -> Option<(u16, &str)> {
    let rest = line.strip_prefix("HTTP/")?;
    let (_, rest) = rest.split_once(' ')?;
    let rest = rest.trim();
    let (status, phrase) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((status.parse().ok()?, phrase.trim()))
}

/// Cargo tells the status of what it did not expect, and the body below it.
fn cargo(ended: &Ended) -> Option<Outcome> {
    let text = ended.stderr.as_str();
    if text.contains("missing field `dl`") {
        // An answer, but not that of a registry.
        return Some(Outcome::Reached {
            status: 200,
            is_marked: false,
        });
    }
    if text.contains("config.json not found in registry") {
        // It shows nothing of a 404. A proxy that does not know the host says that it is a bad gateway.
        return Some(Outcome::Reached {
            status: 404,
            is_marked: true,
        });
    }
    let (_, rest) = text.split_once("failed to get successful HTTP response from")?;
    let (_, rest) = rest.split_once(", got ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    let (status, body) = rest.split_at(end.unwrap_or(rest.len()));
    let status = status.parse().ok()?;
    let body = body.to_ascii_lowercase();
    (status != 407).then_some(Outcome::Reached {
        status,
        is_marked: body.contains("\"decision_id\"") || body.contains("sortie"),
    })
}

fn is_mark(name: &str) -> bool {
    name.to_ascii_lowercase().starts_with(MARK)
}

/// Words of the libraries that these programs are made of, in lower case, in the order in which they decide.
const WORDS: [(Why, &[&str]); 5] = [
    (
        Why::Credentials,
        &["407", "proxy authentication", "proxyauth"],
    ),
    (
        Why::Trust,
        &[
            "certificate",
            "cert_",
            "x509",
            "pkix",
            "unknownissuer",
            "unknown issuer",
            "self signed",
            "self-signed",
            "unknown_ca",
            "sslhandshake",
            "error setting certificate",
            "cafile",
        ],
    ),
    (
        Why::Connect,
        &[
            "could not resolve proxy",
            "couldn't resolve proxy",
            "cannot connect to proxy",
            "proxyconnect",
        ],
    ),
    (
        Why::Past,
        &[
            "could not resolve",
            "couldn't resolve",
            "enotfound",
            "eai_again",
            "no such host",
            "name or service",
            "unresolvedaddress",
            "unknownhost",
            "gaierror",
            "getaddrinfo",
            "nodename",
            "temporary failure in name resolution",
            "name resolution",
            "failed to lookup",
            "unable to resolve",
            "dns error",
            "server misbehaving",
        ],
    ),
    (
        Why::Connect,
        &[
            "refused",
            "failed to connect",
            "could not connect",
            "couldn't connect",
            "unreachable",
            "timed out",
            "timeout",
            "connectexception",
        ],
    ),
];

fn why(ended: &Ended) -> Why {
    if ended.is_late {
        return Why::Late;
    }
    let text = words(ended).to_lowercase();
    WORDS
        .iter()
        .find(|(_, words)| words.iter().any(|word| text.contains(word)))
        .map_or(Why::Other, |(why, _)| *why)
}

/// What it said at its end: of a traceback the last line, of all others all lines that are no trace of git's.
fn words(ended: &Ended) -> String {
    let mut lines = ended.stderr.lines().filter(|line| {
        !line.trim().is_empty() && !line.contains("http.c:") && !line.starts_with("Picked up JAVA")
    });
    if ended.stderr.contains("Traceback (most recent call last)") {
        return lines.next_back().unwrap_or_default().to_owned();
    }
    lines.collect::<Vec<_>>().join("\n")
}

/// What it said that tells most, in one line: its first error, or else its last line.
pub(super) fn last_words(ended: &Ended) -> String {
    const LENGTH_MAX: usize = 300;

    let said = words(ended);
    let lines = || {
        said.lines()
            .map(str::trim)
            .filter(|line| line.contains(char::is_alphabetic) && !line.starts_with("at "))
    };
    let error = lines().find(|line| line.starts_with("error") || line.starts_with("fatal"));
    let told = error.or_else(|| lines().next_back());
    told.unwrap_or("it said nothing")
        .chars()
        .take(LENGTH_MAX)
        .collect()
}

/// Whether this Node.js has no `NODE_USE_ENV_PROXY`: it came with 24.5 and, for the line before, with 22.21.
pub(super) fn node_is_too_old(version: &str) -> bool {
    let mut numbers = version
        .trim_start_matches('v')
        .split('.')
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    !matches!((major, minor), (22, 21..) | (24, 5..) | (25.., _))
}

#[cfg(test)]
mod tests;
