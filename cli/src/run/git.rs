//! Git over SSH becomes git over HTTPS: a gateway can put no credential into SSH. Pure.
//!
//! `GIT_CONFIG_COUNT` and its pairs are read after every file of git's, and add to them (git-config(1)). Not here:
//! rules of the user's own files that turn HTTPS into SSH; git takes the longest match, and of equal ones his.

use sortie_proto::host::{Host, HostPattern};
use sortie_proto::service::Scheme;

use super::vault::Service;

/// How many servers get rules at most: each takes four variables.
const SERVERS_MAX: usize = 32;

/// How many rules of the user's own are looked at; nobody has so many.
const THEIRS_MAX: u32 = 10_000;

const COUNT: &str = "GIT_CONFIG_COUNT";

/// The variables that rewrite `git@HOST:` and `ssh://git@HOST/` to `https://HOST[:PORT]/` for each server, behind those
/// that stand already. `theirs` looks up a variable of the user's own.
pub(super) fn variables(
    services: &[Service],
    theirs: impl Fn(&str) -> Option<String>,
) -> Vec<(String, String)> {
    let first: u32 = theirs(COUNT)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let is_there = |(key, value): &(String, String)| {
        (0..first.min(THEIRS_MAX)).any(|at| {
            theirs(&format!("GIT_CONFIG_KEY_{at}")).is_some_and(|own| own == *key)
                && theirs(&format!("GIT_CONFIG_VALUE_{at}")).is_some_and(|own| own == *value)
        })
    };
    let rules: Vec<(String, String)> = servers(services)
        .iter()
        .flat_map(|(host, port)| {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let key = format!("url.https://{host}{port}/.insteadOf");
            [format!("git@{host}:"), format!("ssh://git@{host}/")]
                .map(|theirs| (key.clone(), theirs))
        })
        // A shell may have them from before.
        .filter(|rule| !is_there(rule))
        .collect();
    if rules.is_empty() {
        return Vec::new();
    }
    let mut all = Vec::with_capacity(1 + 2 * rules.len());
    let mut next = first;
    for (key, value) in rules {
        all.push((format!("GIT_CONFIG_KEY_{next}"), key));
        all.push((format!("GIT_CONFIG_VALUE_{next}"), value));
        next = next.saturating_add(1);
    }
    all.push((COUNT.to_owned(), next.to_string()));
    all
}

/// The hosts of services that could be git servers, once each, the well-known ones first.
fn servers(services: &[Service]) -> Vec<(&str, Option<u16>)> {
    const KNOWN: [&str; 3] = ["github.com", "gitlab.com", "bitbucket.org"];
    let mut found: Vec<(&str, Option<u16>)> = Vec::new();
    for service in services.iter().filter(|service| service.enabled) {
        if let HostPattern::Exact(Host::Name(name)) = &service.host
            && service.scheme == Scheme::Https
            && !found.iter().any(|(other, _)| *other == &**name)
        {
            found.push((name, service.port.filter(|port| *port != 443)));
        }
    }
    found.sort_by_key(|(host, _)| !KNOWN.contains(host));
    found.truncate(SERVERS_MAX);
    found
}

#[cfg(test)]
mod tests;
