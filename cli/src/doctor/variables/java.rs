//! What a JVM is told: it reads neither the variables of a proxy nor a bundle in PEM.

use sortie_proto::environment::{JAVA_OPTIONS, Proxy};

use super::super::environment::{Environment, proxy};
use super::super::finding::Finding;
use super::RUN;

/// Whether `JAVA_TOOL_OPTIONS` names the gateway and a trust store. Without Java it matters to nobody here.
pub(super) fn check(environment: &Environment) -> Vec<Finding> {
    if environment.find("java").is_none() {
        return Vec::new();
    }
    let Some((_, meant)) = proxy(environment) else {
        return Vec::new();
    };
    let options = environment.get(JAVA_OPTIONS).unwrap_or_default();
    let mut found = Vec::new();
    if !names_proxy(options, &meant.proxy) {
        found.push(Finding::fault(
            JAVA_OPTIONS,
            format!("does not name {} as the proxy for https", meant.proxy),
            RUN,
        ));
    }
    if property(options, "javax.net.ssl.trustStore").is_none() {
        found.push(Finding::warning(
            JAVA_OPTIONS,
            "names no trust store: Java trusts the gateway only if its own store does",
            "sortie trust install --store java",
        ));
    }
    found
}

fn names_proxy(options: &str, meant: &Proxy) -> bool {
    let host = property(options, "https.proxyHost");
    let port = property(options, "https.proxyPort").unwrap_or("443");
    host.and_then(|host| Proxy::parse(&format!("{}://{host}:{port}", meant.scheme().name())).ok())
        .is_some_and(|named| named == *meant)
}

/// The last value of a system property, as a JVM takes it; quotes are of no matter to those that are asked for.
fn property<'a>(options: &'a str, name: &str) -> Option<&'a str> {
    options
        .split_ascii_whitespace()
        .filter_map(|option| option.strip_prefix("-D")?.strip_prefix(name))
        .filter_map(|rest| rest.strip_prefix('='))
        .rfind(|value| !value.is_empty())
}
