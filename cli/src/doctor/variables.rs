//! Checks of the environment alone: variables of the table that are unset or point elsewhere, holes, verification that
//! is switched off, secrets that should not be there. Pure: what is on disk comes in as a function.
//!
//! Invariant: of a variable that may hold a secret only the name is told.

mod java;
mod secrets;

use sortie_proto::environment::NoProxy;
use sortie_proto::host::HostPattern;

use super::environment::{Environment, Named, Use, proxy, uses};
use super::finding::{Finding, conceal};
use crate::run::environment::OTHER_PROXIES;

/// What starts a command with everything as it should be.
pub(super) const RUN: &str = "sortie run -- CMD";

/// What the checks know besides the variables.
pub(super) struct Known<'a> {
    /// Whether a file holds the authority of a tenant.
    pub(super) trusts: &'a dyn Fn(&str) -> bool,
    /// Hosts that are brokered, as far as they are known.
    pub(super) brokered: &'a [HostPattern],
}

/// All checks.
pub(super) fn check(environment: &Environment, known: &Known<'_>) -> Vec<Finding> {
    let mut found = proxies(environment);
    found.extend(bundles(environment, known));
    found.extend(node(environment, known));
    found.extend(java::check(environment));
    if found.is_empty() {
        let count = uses().len();
        found.push(Finding::ok(
            "variables",
            format!("all {count} point to the gateway and to the bundle"),
        ));
    }
    found.extend(no_proxy(environment, known.brokered));
    found.extend(verification(environment));
    found.push(secrets::check(environment));
    found
}

fn named(wanted: Use) -> impl Iterator<Item = &'static str> {
    uses()
        .into_iter()
        .filter(move |(_, used)| *used == wanted)
        .map(|(name, _)| name)
}

fn proxies(environment: &Environment) -> Vec<Finding> {
    let Some((reference, meant)) = proxy(environment) else {
        return vec![Finding::fault(
            "HTTPS_PROXY",
            "no variable names a proxy: programs go past Sortie",
            RUN,
        )];
    };
    let mut found: Vec<_> = named(Use::Proxy)
        .filter_map(|name| {
            let text = environment.get(name)?;
            let fix = format!("export {name}=\"${reference}\"");
            let Some(other) = Named::parse(text) else {
                let seen = "is set to something that is no URL of a proxy";
                return Some(Finding::fault(name, seen, fix));
            };
            if other.is_same(&meant) {
                return None;
            }
            let seen = if other.proxy == meant.proxy {
                format!("has other credentials for the proxy than {reference}")
            } else {
                let (there, here) = (&other.proxy, &meant.proxy);
                format!("names {there}, but {reference} names {here}")
            };
            Some(Finding::fault(name, seen, fix))
        })
        .collect();
    found.extend(others(environment, &meant));
    let unset: Vec<_> = named(Use::Proxy)
        .filter(|name| environment.get(name).is_none())
        .collect();
    if !unset.is_empty() {
        found.push(Finding::warning(
            "proxy variables",
            format!(
                "unset, and some programs read no other: {}",
                unset.join(", ")
            ),
            exports(&unset, reference),
        ));
    }
    found
}

/// Variables of single tools that win over those of the proxy. `run` leaves them out.
fn others(environment: &Environment, meant: &Named) -> Vec<Finding> {
    let is_other = |name: &str| {
        OTHER_PROXIES
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other))
    };
    environment
        .iter()
        .filter(|(name, value)| is_other(name) && !value.is_empty())
        .filter(|(_, value)| !Named::parse(value).is_some_and(|named| named.is_same(meant)))
        .map(|(name, _)| {
            let seen = "wins over the variables of the proxy, and leads elsewhere";
            Finding::fault(name, seen, format!("unset {name}"))
        })
        .collect()
}

fn exports(names: &[&str], reference: &str) -> String {
    let set: Vec<_> = names
        .iter()
        .map(|name| format!("{name}=\"${reference}\""))
        .collect();
    format!("export {}", set.join(" "))
}

/// The variable whose file programs should trust: the first whose file holds the authority, or else the first.
pub(super) fn bundle<'a>(
    environment: &'a Environment,
    trusts: &dyn Fn(&str) -> bool,
) -> Option<(&'static str, &'a str)> {
    let set = || named(Use::Bundle).filter_map(|name| Some((name, environment.get(name)?)));
    set()
        .find(|(_, file)| trusts(file))
        .or_else(|| set().next())
}

fn bundles(environment: &Environment, known: &Known<'_>) -> Vec<Finding> {
    let Some((reference, meant)) = bundle(environment, known.trusts) else {
        return vec![Finding::fault(
            "SSL_CERT_FILE",
            "no variable names a bundle: programs do not trust the gateway",
            RUN,
        )];
    };
    let elsewhere = named(Use::Bundle).filter_map(|name| {
        let file = environment.get(name)?;
        if file == meant || (known.trusts)(file) {
            return None;
        }
        Some(Finding::fault(
            name,
            format!("names {file}, which does not hold the tenant's authority"),
            format!("export {name}=\"${reference}\""),
        ))
    });
    let mut found: Vec<_> = elsewhere.collect();
    let unset: Vec<_> = named(Use::Bundle)
        .filter(|name| environment.get(name).is_none())
        .collect();
    if !unset.is_empty() {
        found.push(Finding::warning(
            "bundle variables",
            format!(
                "unset, and some programs read no other: {}",
                unset.join(", ")
            ),
            exports(&unset, reference),
        ));
    }
    found
}

fn node(environment: &Environment, known: &Known<'_>) -> Vec<Finding> {
    let is_here = environment.find("node").is_some();
    let finding = |name: &str, seen: String, fix: String| match is_here {
        true => Finding::fault(name, seen, fix),
        false => Finding::warning(name, seen, fix),
    };
    let mut found = Vec::new();
    for name in named(Use::Authority) {
        let fix = match bundle(environment, known.trusts) {
            Some((bundle, _)) => format!("export {name}=\"${bundle}\""),
            None => RUN.to_owned(),
        };
        match environment.get(name) {
            None => found.push(finding(
                name,
                "is unset: Node.js does not trust the gateway".to_owned(),
                fix,
            )),
            Some(file) if !(known.trusts)(file) => found.push(finding(
                name,
                format!("names {file}, which does not hold the tenant's authority"),
                fix,
            )),
            Some(_) => {}
        }
    }
    let by_option = environment
        .get("NODE_OPTIONS")
        .is_some_and(|options| options.contains("--use-env-proxy"));
    for name in named(Use::Switch) {
        if environment.get(name) != Some("1") && !by_option {
            found.push(finding(
                name,
                "is not 1: Node.js does not read the variables of the proxy".to_owned(),
                format!("export {name}=1"),
            ));
        }
    }
    found
}

fn no_proxy(environment: &Environment, brokered: &[HostPattern]) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in named(Use::NoProxy) {
        let Some(value) = environment.get(name) else {
            continue;
        };
        let merged = NoProxy::merge([value], brokered);
        if !merged.dropped().is_empty() {
            let holes = merged.dropped().join(", ");
            found.push(Finding::fault(
                name,
                format!("{holes} sends brokered hosts past the gateway"),
                format!("export {name}='{}'", conceal(&merged.to_string())),
            ));
        }
    }
    let values: Vec<_> = named(Use::NoProxy)
        .map(|name| environment.get(name).unwrap_or_default())
        .collect();
    let differ = values.windows(2).any(|pair| pair.first() != pair.last());
    if found.is_empty() && differ {
        found.push(Finding::warning(
            "NO_PROXY",
            "differs from no_proxy: some programs read the one, some the other",
            "export no_proxy=\"$NO_PROXY\"",
        ));
    }
    if found.is_empty() {
        found.push(Finding::ok("NO_PROXY", "covers no brokered host"));
    }
    found
}

/// Variables that switch verification off, and the values that do it; none is every value.
const UNVERIFIED: [(&str, &[&str], &str); 4] = [
    ("NODE_TLS_REJECT_UNAUTHORIZED", &["0"], "Node.js"),
    ("GIT_SSL_NO_VERIFY", &[], "git"),
    ("PYTHONHTTPSVERIFY", &["0"], "Python"),
    ("npm_config_strict_ssl", &["false", "0"], "npm"),
];

fn verification(environment: &Environment) -> Vec<Finding> {
    let off = UNVERIFIED.iter().filter(|(name, values, _)| {
        environment
            .get(name)
            .is_some_and(|value| values.is_empty() || values.contains(&value))
    });
    off.map(|(name, _, program)| {
        let seen = format!("{program} verifies no certificate: anybody may stand between");
        Finding::warning(name, seen, format!("unset {name}"))
    })
    .collect()
}

#[cfg(test)]
mod tests;
