//! What adding a bundle or a pack to a vault comes to: decided before anything is written. Pure, but for asking.

use serde_json::{Map, Value, json};
use sortie_proto::catalog::{Bundle, Entry, Needed};
use sortie_proto::host::PathPattern;
use sortie_proto::secret::Secret;

use super::Options;
use super::files::Files;
use crate::error::{Error, Result};

/// What a vault holds.
pub(super) struct Held {
    pub(super) services: Vec<Value>,
    pub(super) credentials: Vec<Value>,
}

/// One step, in the order in which steps are done.
pub(super) enum Step {
    Remove {
        name: String,
        why: String,
    },
    Credential {
        needed: &'static Needed,
        to: Vec<Value>,
        value: Secret,
    },
    Service {
        entry: &'static Entry,
        is_new: bool,
    },
    Keep {
        kind: &'static str,
        name: String,
        hosts: Vec<String>,
        why: String,
    },
}

/// The steps for a bundle. Values that are needed are asked for.
///
/// # Errors
/// [`Error::Failed`] for a service that differs, and whatever keeps a value from being read.
pub(super) fn bundle_steps(
    bundle: &'static Bundle,
    held: &Held,
    options: &Options,
    files: &Files,
) -> Result<Vec<Step>> {
    let mut services = Vec::new();
    for entry in &bundle.services {
        services.extend(yielding_packs(entry, held));
        services.push(service_step(entry, held, options.replace)?);
    }
    let mut steps = credential_steps(bundle, held, options, files)?;
    steps.extend(services);
    Ok(steps)
}

fn credential_steps(
    bundle: &'static Bundle,
    held: &Held,
    options: &Options,
    files: &Files,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut asked = Vec::new();
    for needed in &bundle.credentials {
        let to = destinations(bundle, &needed.name);
        let is_there = named(&held.credentials, &needed.name);
        let reaches =
            is_there.is_some_and(|credential| to.iter().all(|place| reaches(credential, place)));
        if reaches && !options.renew && !files.has(&needed.name) {
            let hosts = to.iter().map(|place| text(place, "/host")).collect();
            let (name, why) = (needed.name.clone(), "kept".to_owned());
            steps.push(Step::Keep {
                kind: "credential",
                name,
                hosts,
                why,
            });
        } else {
            asked.push((needed, to, is_there.is_some() && !reaches));
        }
    }
    let is_one = asked.len() == 1;
    for (needed, to, is_narrow) in asked {
        if is_narrow {
            crate::output::complain(&format!(
                "{} is in the vault, but may not go to every host of {}: give its value once more.",
                needed.name, bundle.name
            ));
        }
        let value = files.value(needed, is_one)?;
        steps.push(Step::Credential { needed, to, value });
    }
    Ok(steps)
}

/// Where a credential of a bundle may be sent: where the bundle's services send it.
pub(in crate::verbs) fn destinations(bundle: &Bundle, credential: &str) -> Vec<Value> {
    let mut places: Vec<Value> = Vec::new();
    for entry in bundle.destinations(credential) {
        let mut place = json!({"host": entry.host.to_string()});
        let path = entry.path.to_string();
        if let (Some(fields), true) = (place.as_object_mut(), path != "/**") {
            fields.insert("path".to_owned(), path.into());
        }
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Whether a credential may go to a place already.
fn reaches(credential: &Value, place: &Value) -> bool {
    let destinations = credential
        .pointer("/destinations")
        .and_then(Value::as_array);
    destinations.into_iter().flatten().any(|known| {
        let is_open = |field: &str| match known.get(field) {
            None | Some(Value::Null) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(value) => place.get(field) == Some(value),
        };
        known.get("host") == place.get("host")
            && ["port", "path", "methods"].into_iter().all(is_open)
            && known
                .get("surfaces")
                .is_none_or(|surfaces| *surfaces == json!([]))
    })
}

fn service_step(entry: &'static Entry, held: &Held, replace: bool) -> Result<Step> {
    let found = named(&held.services, &entry.name);
    let hosts = vec![entry.host.to_string()];
    let Some(found) = found else {
        return Ok(Step::Service {
            entry,
            is_new: true,
        });
    };
    if is_same(found, entry) {
        return Ok(Step::Keep {
            kind: "service",
            name: entry.name.clone(),
            hosts,
            why: "kept".to_owned(),
        });
    }
    if !replace {
        return Err(Error::failed(
            format!(
                "the vault has a service `{}` that differs from the catalog's; nothing was added",
                entry.name
            ),
            format!(
                "`sortie service get {0}` and `sortie service catalog` show both; --replace takes the catalog's.",
                entry.name
            ),
        ));
    }
    Ok(Step::Service {
        entry,
        is_new: false,
    })
}

/// Whether a service says what the catalog says, whatever either leaves unsaid.
fn is_same(service: &Value, entry: &Entry) -> bool {
    let mut default = Map::new();
    for (name, value) in [
        ("enabled", json!(true)),
        ("scheme", json!("https")),
        ("port", json!(0)),
        ("methods", json!([])),
        ("path", json!("/**")),
        ("inject", json!([])),
        ("placeholders", Value::Null),
        ("redact", json!(true)),
        ("intercept", json!("always")),
        ("encoded_slash", json!(false)),
    ] {
        default.insert(name.to_owned(), value);
    }
    let body = entry.body();
    let full = |spec: Option<&Value>| {
        let mut full = default.clone();
        let fields = spec.and_then(Value::as_object).into_iter().flatten();
        full.extend(fields.map(|(name, value)| (name.clone(), value.clone())));
        full
    };
    full(service.get("spec")) == full(Some(&body))
}

/// The services of packs that would take requests from an entry: it has to have its host to itself.
fn yielding_packs(entry: &Entry, held: &Held) -> Vec<Step> {
    let is_pack = |service: &&Value| text(service, "/name").starts_with("pack-");
    held.services
        .iter()
        .filter(is_pack)
        .filter(|service| is_at(service, entry) && !is_longer(entry, service))
        .map(|service| Step::Remove {
            name: text(service, "/name"),
            why: format!("removed: `{}` covers it", entry.name),
        })
        .collect()
}

/// The steps for a pack.
///
/// # Errors
/// [`Error::Failed`] for a service that differs.
pub(super) fn pack_steps(
    name: &str,
    entries: &'static [Entry],
    held: &Held,
    replace: bool,
) -> Result<Vec<Step>> {
    let own = format!("pack-{name}-");
    let mut steps = Vec::new();
    for entry in entries {
        let other = held.services.iter().find(|service| {
            let is_other = !text(service, "/name").starts_with(&own);
            is_other && is_at(service, entry) && (is_off(service) || !is_shorter(entry, service))
        });
        steps.push(match other {
            Some(other) => Step::Keep {
                kind: "service",
                name: entry.name.clone(),
                hosts: vec![entry.host.to_string()],
                why: format!("left out: `{}` decides there", text(other, "/name")),
            },
            None => service_step(entry, held, replace)?,
        });
    }
    Ok(steps)
}

fn is_off(service: &Value) -> bool {
    service.pointer("/spec/enabled") == Some(&Value::Bool(false))
}

/// Whether a service stands at an entry's scheme, host and port.
fn is_at(service: &Value, entry: &Entry) -> bool {
    let scheme = service.pointer("/spec/scheme").and_then(Value::as_str);
    let port = service
        .pointer("/spec/port")
        .and_then(Value::as_u64)
        .unwrap_or(0);
    text(service, "/spec/host") == entry.host.to_string()
        && scheme.unwrap_or("https") == entry.scheme.name()
        && (port == 0 || port == u64::from(entry.scheme.default_port()))
}

/// Whether an entry's path is the more specific one, so that the entry decides where both match.
fn is_longer(entry: &Entry, service: &Value) -> bool {
    compare(entry, service).is_some_and(std::cmp::Ordering::is_gt)
}

/// Whether a service's path is the more specific one, so that the service goes on deciding.
fn is_shorter(entry: &Entry, service: &Value) -> bool {
    compare(entry, service).is_some_and(std::cmp::Ordering::is_lt)
}

fn compare(entry: &Entry, service: &Value) -> Option<std::cmp::Ordering> {
    let path = service.pointer("/spec/path").and_then(Value::as_str);
    let path = PathPattern::parse(path.unwrap_or("/**")).ok()?;
    Some(entry.path.specificity(&path))
}

fn named<'a>(objects: &'a [Value], name: &str) -> Option<&'a Value> {
    objects.iter().find(|object| text(object, "/name") == name)
}

/// The text at a place of an object; empty if there is none.
pub(super) fn text(object: &Value, pointer: &str) -> String {
    let found = object.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
