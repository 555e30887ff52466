//! The pages: Markdown for agents, JSON for programs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};
use sortie_proto::host::HostPattern;
use sortie_proto::service::{Injection, Intercept, Service};
use sortie_proto::vault::VaultMode;

use super::Reach;
use crate::client::authenticate::Caller;

pub(super) const INDEX: &str = "\
# Sortie

Your requests go out through a Sortie gateway, which puts credentials into them. It answers here itself:

- [/skill](http://sortie.internal/skill): what you can reach, how to read a refusal, how to ask for more. Start here.
- [/services](http://sortie.internal/services): what you can reach, as JSON.
- [/ca.pem](http://sortie.internal/ca.pem): the certificate to trust, for clients that say they do not know the issuer.
";

const HEAD: &str = "\
# Reaching APIs from here

Your requests go out through a Sortie gateway. It puts the credentials into them: you hold none, and you need none. Make
requests as you always would; the proxy and the certificate to trust are in your environment. Where a client insists on a
key, give it the placeholder below, or anything where the credential is \"put in for you\". Never ask anyone to show you a
key or to paste one here, and never work around a refusal.
";

const REST: &str = "\
## When a request is refused

The answer is JSON with `code`, `message` and `decision_id`; the code is in the header `X-Sortie-Code` too, the id in
`X-Sortie-Decision`. The message says what to do. Nothing was sent to the API, unless the code is about its answer
(`upstream_…`, `response_encoded`).

| code | what it means for you |
|---|---|
| `host_unmatched` | No service covers the host. Ask for one. |
| `request_unmatched` | A service covers the host, but not this method and path. Use what it allows, or ask for it to be widened. |
| `credential_missing` | The service is there, its credential is not. Ask for it to be set. |
| `placeholder_unresolved` | A placeholder is misspelt, or stands where it may not. Compare it with the tables above. |
| `destination_refused` | The credential may not go to that host. Do not try another way. |
| `token_expired`, `session_revoked` | Your session is over. Stop, and say so. |
| `rate_limited`, `too_many`, or status 503 | Wait for `Retry-After` seconds and try again. |

An answer without `X-Sortie-Code` is the API's own: a 401 or 403 there means that the credential itself is not enough.

## How to ask for more

You cannot add anything yourself. Tell the person that you work for what you need and why, with the host, the method, the
path and the `decision_id` of the refusal, and with the command that they can run:

```sh
sortie service suggest --vault VAULT       # what was refused here, with the command that adds each
sortie service add NAME --vault VAULT      # an API that the catalog knows: github, openai, npm, …
sortie service set NAME --vault VAULT --host HOST --bearer CREDENTIAL
sortie credential set CREDENTIAL --vault VAULT --to HOST
```

They are asked for the value, out of your sight. Then try again: it acts at once.
";

/// For agents.
pub(super) fn skill(vaults: &[Reach]) -> String {
    let mut page = HEAD.to_owned();
    for reach in vaults {
        page.push_str(&section(reach));
    }
    page.push('\n');
    page.push_str(REST);
    page
}

fn section(reach: &Reach) -> String {
    let vault = &reach.vault.vault;
    let mut text = format!("\n## What you can reach: vault `{}`\n\n", vault.name);
    if let Some(code) = reach.refused {
        let _infallible = writeln!(text, "Refused for now with `{code}`: {}\n", code.text());
    }
    if reach.services.is_empty() {
        text.push_str("No services.\n");
    } else {
        text.push_str("| service | where | methods | path | credential |\n|---|---|---|---|---|\n");
    }
    for service in &reach.services {
        let methods = match service.methods.as_slice() {
            [] => "any".to_owned(),
            methods => cell(&methods.join(", ")),
        };
        let _infallible = writeln!(
            text,
            "| {} | {} | {methods} | {} | {} |",
            cell(&service.name),
            cell(&origin(service)),
            cell(&service.path.to_string()),
            credential(service, reach),
        );
    }
    text.push_str(match vault.mode {
        VaultMode::Deny => "\nAny other host is refused.\n",
        VaultMode::Observe => "\nAny other host is reached too, without a credential.\n",
    });
    text
}

/// A code span that no table breaks.
fn cell(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('|', "\\|"))
}

fn credential(service: &Service, reach: &Reach) -> String {
    if service.intercept == Intercept::Never {
        return "passed on untouched: bring your own".to_owned();
    }
    let mut found = Vec::new();
    if !service.inject.is_empty() {
        found.push("put in for you".to_owned());
    }
    for (_, placeholder, surfaces) in placeholders(service, reach) {
        found.push(format!(
            "send {} in {}",
            cell(&placeholder),
            surfaces.join(", ")
        ));
    }
    if found.is_empty() {
        found.push("none".to_owned());
    }
    found.join("; ")
}

/// The placeholders that a service replaces: the credential's name, the placeholder, and where it may stand.
fn placeholders<'r>(
    service: &'r Service,
    reach: &'r Reach,
) -> impl Iterator<Item = (&'r str, String, Vec<&'static str>)> {
    service.placeholders.iter().flat_map(move |placeholders| {
        let surfaces: Vec<_> = placeholders.surfaces.iter().map(|at| at.name()).collect();
        placeholders.credentials.iter().filter_map(move |name| {
            let found = reach.vault.credentials.get(name)?;
            Some((name.as_str(), found.placeholder.clone(), surfaces.clone()))
        })
    })
}

fn origin(service: &Service) -> String {
    let (scheme, port) = (service.scheme.name(), service.effective_port());
    if port == service.scheme.default_port() {
        format!("{scheme}://{}", service.host)
    } else {
        format!("{scheme}://{}:{port}", service.host)
    }
}

/// For programs.
pub(super) fn services(caller: &Caller, vaults: &[Reach]) -> String {
    let claims = caller.claims();
    let vaults: Vec<_> = vaults.iter().map(vault).collect();
    let page = json!({
        "session": {
            "id": claims.session.to_string(),
            "expires_at_seconds": claims.exp,
        },
        "vaults": vaults,
    });
    page.to_string()
}

fn vault(reach: &Reach) -> Value {
    let vault = &reach.vault.vault;
    let services = reach.services.iter();
    let services: Vec<_> = services.map(|found| service(found, reach)).collect();
    json!({
        "name": vault.name,
        "mode": vault.mode.name(),
        "role": reach.role.map(|role| role.name()),
        "refused": reach.refused.map(|code| code.name()),
        "credentials": credentials(reach),
        "services": services,
    })
}

/// What stands for each credential that a service of these uses, in the order of their names: clients that insist on a
/// key are given that.
fn credentials(reach: &Reach) -> Vec<Value> {
    let services = || reach.services.iter();
    let injected = services().flat_map(|service| &service.inject);
    let replaced = services().filter_map(|service| service.placeholders.as_ref());
    let replaced = replaced.flat_map(|placeholders| &placeholders.credentials);
    let names: BTreeSet<&str> = injected
        .flat_map(Injection::credentials)
        .chain(replaced.map(String::as_str))
        .collect();
    let found = names.into_iter().filter_map(|name| {
        let credential = reach.vault.credentials.get(name)?;
        Some(json!({"name": name, "placeholder": credential.placeholder}))
    });
    found.collect()
}

fn service(service: &Service, reach: &Reach) -> Value {
    let base =
        matches!(service.host, HostPattern::Exact(_)) && service.intercept == Intercept::Always;
    let base = base.then(|| format!("/r/{}/{}", reach.vault.vault.name, service.name));
    let placeholders = placeholders(service, reach).map(|(credential, placeholder, surfaces)| {
        json!({"credential": credential, "placeholder": placeholder, "surfaces": surfaces})
    });
    json!({
        "name": service.name,
        "scheme": service.scheme.name(),
        "host": service.host.to_string(),
        "port": service.effective_port(),
        "methods": service.methods,
        "path": service.path.to_string(),
        "injects": !service.inject.is_empty() && service.intercept == Intercept::Always,
        "intercept": service.intercept.name(),
        "placeholders": placeholders.collect::<Vec<_>>(),
        "base_path": base,
    })
}
