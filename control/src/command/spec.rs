//! Services and destinations as callers write them, and back.
//!
//! Everything is checked here that a gateway would refuse later: a service that was accepted works.

use http::HeaderName;
use sortie_proto::credential::{Destination, Surface};
use sortie_proto::host::{Host, HostPattern, PathPattern};
use sortie_proto::id::{ServiceId, VaultId};
use sortie_proto::service::{
    Injection, Intercept, Placeholders, Scheme, Service, Template, is_name,
};
use sortie_proto::wire::v1;

use super::fields::{self, Problems, is_text};

/// The most destinations that a credential may have.
const DESTINATIONS_MAX: usize = 32;
/// The most injections that a service may have.
const INJECTIONS_MAX: usize = 8;
/// The most credentials whose placeholders a service may replace.
const PLACEHOLDERS_MAX: usize = 64;
/// The longest path pattern, in bytes.
const PATH_MAX: usize = 1_024;
/// The longest template, in bytes.
const TEMPLATE_MAX: usize = 4_096;

/// Headers that frame or route a request: a credential in one of them would change what the request is.
const HEADERS_REFUSED: [&str; 17] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "via",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-connection",
];

// === Destinations ===

/// Reads the destinations of a credential: at least one.
pub(super) fn destinations(
    problems: &mut Problems,
    specs: &[v1::DestinationSpec],
) -> Vec<Destination> {
    if !(1..=DESTINATIONS_MAX).contains(&specs.len()) {
        problems.add(
            "destinations",
            "must be 1 to 32 places that the value may be sent to",
        );
    }
    let specs = specs.iter().take(DESTINATIONS_MAX).enumerate();
    specs
        .filter_map(|(at, spec)| destination(problems, &format!("destinations[{at}]"), spec))
        .collect()
}

fn destination(
    problems: &mut Problems,
    at: &str,
    spec: &v1::DestinationSpec,
) -> Option<Destination> {
    let host = problems.take(format!("{at}.host"), HostPattern::parse(&spec.host));
    let port = problems.take(format!("{at}.port"), fields::port(spec.port));
    let path = match spec.path.as_str() {
        "" => Some(None),
        text => path(problems, format!("{at}.path"), text).map(Some),
    };
    problems.take(format!("{at}.methods"), fields::methods(&spec.methods));
    let surfaces = surfaces(problems, &format!("{at}.surfaces"), &spec.surfaces);
    Some(Destination {
        host: host?,
        port: port?,
        cleartext: spec.cleartext,
        path: path?,
        methods: spec.methods.clone(),
        surfaces,
    })
}

fn path(problems: &mut Problems, at: String, text: &str) -> Option<PathPattern> {
    if text.len() > PATH_MAX {
        problems.add(at, "must have at most 1,024 bytes");
        return None;
    }
    problems.take(at, PathPattern::parse(text))
}

fn surfaces(problems: &mut Problems, at: &str, names: &[String]) -> Vec<Surface> {
    let read: Option<Vec<_>> = names.iter().map(|name| Surface::from_name(name)).collect();
    let mut surfaces = problems
        .take(at, read.ok_or("must be of `header`, `path` and `query`"))
        .unwrap_or_default();
    surfaces.sort_unstable();
    surfaces.dedup();
    surfaces
}

/// The destinations of a credential as they were written down beside it: they were checked before that.
pub(super) fn shown(specs: &[v1::DestinationSpec]) -> Vec<Destination> {
    destinations(&mut Problems::default(), specs)
}

/// A destination as callers write it.
pub(super) fn show(destination: &Destination) -> v1::DestinationSpec {
    let path = destination.path.as_ref();
    v1::DestinationSpec {
        host: destination.host.to_string(),
        port: destination.port.map_or(0, u32::from),
        cleartext: destination.cleartext,
        path: path.map_or_else(String::new, ToString::to_string),
        methods: destination.methods.clone(),
        surfaces: names(&destination.surfaces),
    }
}

fn names(surfaces: &[Surface]) -> Vec<String> {
    let names = surfaces.iter().map(|surface| surface.name().to_owned());
    names.collect()
}

// === Services ===

/// Reads a service. Its name, vault, id and version are the caller's to set: it gets a new id and version 1.
pub(super) fn service(problems: &mut Problems, spec: v1::ServiceSpec) -> Option<Service> {
    let scheme = match spec.scheme.as_str() {
        "" => Some(Scheme::Https),
        name => problems.take(
            "scheme",
            Scheme::from_name(name).ok_or("must be `https` or `http`"),
        ),
    };
    let intercept = match spec.intercept.as_str() {
        "" => Some(Intercept::Always),
        name => {
            let read = Intercept::from_name(name).ok_or("must be `always` or `never`");
            problems.take("intercept", read)
        }
    };
    let host = problems.take("host", HostPattern::parse(&spec.host));
    let port = problems.take("port", fields::port(spec.port));
    problems.take("methods", fields::methods(&spec.methods));
    let path = match spec.path.as_str() {
        "" => path(problems, "path".to_owned(), "/**"),
        text => path(problems, "path".to_owned(), text),
    };
    let inject = injections(problems, spec.inject);
    let placeholders = spec.placeholders.map(|spec| placeholders(problems, spec));
    if let (
        Some(Scheme::Https),
        Some(Intercept::Always),
        Some(HostPattern::Exact(Host::Address(_))),
    ) = (scheme, intercept, &host)
    {
        let message = "must be a name for HTTPS, as certificates are verified by name, unless `intercept` is `never`";
        problems.add("host", message);
    }
    if intercept == Some(Intercept::Never) && (!inject.is_empty() || placeholders.is_some()) {
        let message =
            "must be `always` where something is injected: an unopened tunnel takes nothing";
        problems.add("intercept", message);
    }
    Some(Service {
        id: ServiceId::generate(),
        vault: VaultId::from(uuid::Uuid::nil()),
        name: String::new(),
        version: 1,
        enabled: spec.enabled.unwrap_or(true),
        scheme: scheme?,
        host: host?,
        port: port?,
        methods: spec.methods,
        path: path?,
        inject,
        placeholders,
        redact: spec.redact.unwrap_or(true),
        intercept: intercept?,
        encoded_slash: spec.encoded_slash,
        limits: fields::limits(problems, "limits", spec.limits.unwrap_or_default()),
    })
}

fn placeholders(problems: &mut Problems, spec: v1::PlaceholderSpec) -> Placeholders {
    let count = 1..=PLACEHOLDERS_MAX;
    if !count.contains(&spec.credentials.len())
        || !spec.credentials.iter().all(|name| is_name(name))
    {
        problems.add(
            "placeholders.credentials",
            "must be 1 to 64 names of credentials",
        );
    }
    let mut surfaces = surfaces(problems, "placeholders.surfaces", &spec.surfaces);
    if surfaces.is_empty() {
        surfaces.push(Surface::Header);
    }
    Placeholders {
        credentials: spec.credentials,
        surfaces,
    }
}

fn injections(problems: &mut Problems, specs: Vec<v1::InjectionSpec>) -> Vec<Injection> {
    if specs.len() > INJECTIONS_MAX {
        problems.add("inject", "must be at most 8 injections");
    }
    let mut injections = Vec::new();
    let mut taken: Vec<(bool, String)> = Vec::new();
    for (at, spec) in specs.into_iter().take(INJECTIONS_MAX).enumerate() {
        let at = format!("inject[{at}]");
        let Some(injection) = injection(problems, &at, spec) else {
            continue;
        };
        let place = place_of(&injection);
        if taken.contains(&place) {
            problems.add(at, "goes to the same place as another injection");
        }
        taken.push(place);
        injections.push(injection);
    }
    injections
}

/// Where an injection puts something: whether it is a header, and its name.
fn place_of(injection: &Injection) -> (bool, String) {
    match injection {
        Injection::Bearer { .. } | Injection::Basic { .. } => (true, "authorization".to_owned()),
        Injection::Header { name, .. } => (true, name.to_ascii_lowercase()),
        Injection::Query { name, .. } => (false, name.clone()),
    }
}

fn injection(problems: &mut Problems, at: &str, spec: v1::InjectionSpec) -> Option<Injection> {
    let allowed: &[&str] = match spec.r#type.as_str() {
        "bearer" => &["credential"],
        "basic" => &["username", "credential"],
        "header" => &["name", "template"],
        "query" => &["name", "credential"],
        _ => {
            problems.add(
                format!("{at}.type"),
                "must be `bearer`, `basic`, `header` or `query`",
            );
            return None;
        }
    };
    let given = [
        ("credential", &spec.credential),
        ("username", &spec.username),
        ("name", &spec.name),
        ("template", &spec.template),
    ];
    for (field, value) in given {
        if !value.is_empty() && !allowed.contains(&field) {
            problems.add(
                format!("{at}.{field}"),
                "does not belong to this type of injection",
            );
        }
    }
    if allowed.contains(&"credential") && !is_name(&spec.credential) {
        problems.add(
            format!("{at}.credential"),
            "must be the name of a credential",
        );
    }
    match spec.r#type.as_str() {
        "bearer" => Some(Injection::Bearer {
            credential: spec.credential,
        }),
        "basic" => Some(basic(problems, at, spec)),
        "query" => Some(query(problems, at, spec)),
        _ => header(problems, at, spec),
    }
}

fn basic(problems: &mut Problems, at: &str, spec: v1::InjectionSpec) -> Injection {
    // RFC 7617, 2: a user name with a colon would move the border to the password.
    if spec.username.len() > 256 || spec.username.contains(':') || !is_text(&spec.username) {
        let message = "must be at most 256 bytes without colons and control characters";
        problems.add(format!("{at}.username"), message);
    }
    Injection::Basic {
        username: spec.username,
        credential: spec.credential,
    }
}

fn query(problems: &mut Problems, at: &str, spec: v1::InjectionSpec) -> Injection {
    if !(1..=128).contains(&spec.name.len()) || !is_text(&spec.name) {
        let message = "must be 1 to 128 bytes without control characters";
        problems.add(format!("{at}.name"), message);
    }
    Injection::Query {
        name: spec.name,
        credential: spec.credential,
    }
}

fn header(problems: &mut Problems, at: &str, spec: v1::InjectionSpec) -> Option<Injection> {
    let name = HeaderName::from_bytes(spec.name.as_bytes()).ok();
    let name = name.filter(|name| !HEADERS_REFUSED.contains(&name.as_str()));
    if name.is_none() || spec.name.len() > 128 {
        let message = "must be the name of a header that does not frame or route the request";
        problems.add(format!("{at}.name"), message);
    }
    if spec.template.len() > TEMPLATE_MAX {
        problems.add(format!("{at}.template"), "must have at most 4,096 bytes");
        return None;
    }
    let template = Template::parse(&spec.template);
    Some(Injection::Header {
        name: spec.name,
        template: problems.take(format!("{at}.template"), template)?,
    })
}

/// A service as callers write it.
pub(super) fn show_service(service: &Service) -> v1::ServiceSpec {
    let placeholders = service.placeholders.as_ref();
    v1::ServiceSpec {
        enabled: Some(service.enabled),
        scheme: service.scheme.name().to_owned(),
        host: service.host.to_string(),
        port: service.port.map_or(0, u32::from),
        methods: service.methods.clone(),
        path: service.path.to_string(),
        inject: service.inject.iter().map(show_injection).collect(),
        placeholders: placeholders.map(|placeholders| v1::PlaceholderSpec {
            credentials: placeholders.credentials.clone(),
            surfaces: names(&placeholders.surfaces),
        }),
        redact: Some(service.redact),
        intercept: service.intercept.name().to_owned(),
        encoded_slash: service.encoded_slash,
        limits: (&service.limits).into(),
    }
}

fn show_injection(injection: &Injection) -> v1::InjectionSpec {
    let (r#type, mut spec) = match injection {
        Injection::Bearer { credential } => ("bearer", with_credential(credential)),
        Injection::Basic {
            username,
            credential,
        } => {
            let mut spec = with_credential(credential);
            spec.username.clone_from(username);
            ("basic", spec)
        }
        Injection::Header { name, template } => {
            let mut spec = with_credential("");
            spec.name.clone_from(name);
            spec.template = template.to_string();
            ("header", spec)
        }
        Injection::Query { name, credential } => {
            let mut spec = with_credential(credential);
            spec.name.clone_from(name);
            ("query", spec)
        }
    };
    spec.r#type = r#type.to_owned();
    spec
}

fn with_credential(credential: &str) -> v1::InjectionSpec {
    v1::InjectionSpec {
        credential: credential.to_owned(),
        ..v1::InjectionSpec::default()
    }
}
