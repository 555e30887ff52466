//! The catalog: what is known about vendors' APIs, so that one command adds a service with all that it needs.
//!
//! A [`Bundle`] lists every host of a vendor's client, how each is authenticated, which credentials that needs, and what
//! stands in the agent's environment and files in their place. A [`Pack`] lists hosts that agents may read without
//! credentials. The data is `catalog/*.toml`, part of the program, read once.
//!
//! Invariants, which tests hold: every host is exact, or a wildcard over names that the vendor alone gives out; services
//! of the same name are the same or stand at the same host, and two bundles that share a host share the names there, so
//! that a vault can never hold two that claim the same requests; no placeholder is taken for a part of another.

mod read;
pub mod tools;

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::host::{Host, HostPattern, PathPattern};
use crate::service::{Injection, Placeholders, Scheme};

pub use self::read::Invalid;

/// All that is needed to let agents use a vendor's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Unique: lower-case letters, digits and hyphens.
    pub name: String,
    /// The vendor's or product's own name.
    pub title: String,
    /// What it covers, in one sentence.
    pub about: String,
    /// The vendor's page on authentication.
    pub docs: String,
    /// What the vendor's terms ask of a user, where that is more than usual.
    pub terms: Option<String>,
    /// The credentials that its services use.
    pub credentials: Vec<Needed>,
    /// All hosts of the vendor's client. The first is the one that the bundle is about.
    pub services: Vec<Entry>,
    /// Files that stand in the place of the client's own.
    pub files: Vec<StubFile>,
    /// Variables besides those of the credentials.
    pub environment: Vec<(String, Text)>,
}

/// Hosts that may be read without credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Unique among packs. People write it behind `pack:`.
    pub name: String,
    /// What it is.
    pub title: String,
    /// What it covers, in one sentence.
    pub about: String,
    /// The page that says which hosts these are.
    pub source: String,
    /// Services without credentials. Their names begin with `pack-` and the pack's name, so that lists show them.
    pub services: Vec<Entry>,
}

/// A service of a bundle or pack: a [`Service`](crate::service::Service) that no vault holds yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in a vault.
    pub name: String,
    /// HTTPS, but for package archives that sign what they serve.
    pub scheme: Scheme,
    /// The host.
    pub host: HostPattern,
    /// The port; `None` is the scheme's own.
    pub port: Option<u16>,
    /// The methods; empty is any.
    pub methods: Vec<String>,
    /// What the path must match.
    pub path: PathPattern,
    /// What is put into a request.
    pub inject: Vec<Injection>,
    /// Which placeholders are replaced, and where.
    pub placeholders: Option<Placeholders>,
    /// Whether `%2F` stays inside a path segment.
    pub encoded_slash: bool,
}

/// A credential that a bundle needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Its name in a vault, which is the variable that the vendor's client reads.
    pub name: String,
    /// What stands for it, of a shape that the vendor's client accepts.
    pub placeholder: String,
    /// Other variables that clients read it from.
    pub variables: Vec<String>,
    /// Beginnings of values that only this vendor hands out.
    pub shape: Vec<String>,
    /// Where to get one: a URL, or what to do.
    pub obtain: String,
}

/// A file that stands in the place of one that holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StubFile {
    /// Its place below a folder of the caller's choice, with slashes.
    pub path: String,
    /// The variable that leads the client there.
    pub variable: String,
    /// What the variable holds.
    pub points_at: PointsAt,
    /// What stands in it.
    pub content: Text,
}

/// What the variable of a [`StubFile`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointsAt {
    /// The path of the file.
    File,
    /// The path of the folder that the file is in.
    Folder,
}

/// Text in which each `{{ NAME }}` stands for the placeholder of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub(crate) Vec<Piece>);

/// A piece of a [`Text`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(String),
    Placeholder(String),
}

impl Text {
    /// The text with placeholders filled in; `None` if there is none for a name in it.
    pub fn render(&self, placeholder: impl Fn(&str) -> Option<String>) -> Option<String> {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Literal(text) => Some(text.clone()),
                Piece::Placeholder(name) => placeholder(name),
            })
            .collect()
    }

    /// The names of the credentials in it.
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }
}

impl Needed {
    /// All variables that clients read it from, its own name first.
    pub fn all_variables(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.variables)
            .map(String::as_str)
    }
}

impl Entry {
    /// Whether it covers a host.
    #[must_use]
    pub fn covers(&self, host: &Host) -> bool {
        self.host.matches(host)
    }

    /// The names of the credentials that it uses.
    pub fn credentials(&self) -> impl Iterator<Item = &str> {
        let injected = self.inject.iter().flat_map(Injection::credentials);
        let placed = self.placeholders.iter().flat_map(|some| &some.credentials);
        injected.chain(placed.map(String::as_str))
    }

    /// The body that sets the service over REST.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("scheme".to_owned(), self.scheme.name().into());
        body.insert("host".to_owned(), self.host.to_string().into());
        body.insert("path".to_owned(), self.path.to_string().into());
        if let Some(port) = self.port {
            body.insert("port".to_owned(), port.into());
        }
        if !self.methods.is_empty() {
            body.insert("methods".to_owned(), self.methods.clone().into());
        }
        if !self.inject.is_empty() {
            let inject: Vec<_> = self.inject.iter().map(injection).collect();
            body.insert("inject".to_owned(), inject.into());
        }
        if let Some(some) = &self.placeholders {
            let surfaces: Vec<_> = some.surfaces.iter().map(|surface| surface.name()).collect();
            let spec = json!({"credentials": some.credentials, "surfaces": surfaces});
            body.insert("placeholders".to_owned(), spec);
        }
        if self.encoded_slash {
            body.insert("encoded_slash".to_owned(), true.into());
        }
        Value::Object(body)
    }
}

fn injection(injection: &Injection) -> Value {
    match injection {
        Injection::Bearer { credential } => json!({"type": "bearer", "credential": credential}),
        Injection::Basic {
            username,
            credential,
        } => json!({"type": "basic", "username": username, "credential": credential}),
        Injection::Header { name, template } => {
            json!({"type": "header", "name": name, "template": template.to_string()})
        }
        Injection::Query { name, credential } => {
            json!({"type": "query", "name": name, "credential": credential})
        }
    }
}

impl Bundle {
    /// The services that use a credential: the places that it has to be allowed to go to.
    pub fn destinations<'a>(&'a self, credential: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.services
            .iter()
            .filter(move |service| service.credentials().any(|name| name == credential))
    }

    /// The credential of this name.
    #[must_use]
    pub fn credential(&self, name: &str) -> Option<&Needed> {
        self.credentials.iter().find(|needed| needed.name == name)
    }
}

/// The catalog's data.
#[derive(Debug)]
struct Catalog {
    bundles: Vec<Bundle>,
    packs: Vec<Pack>,
}

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let [models, code, work, agents, packs] = [
        include_str!("catalog/models.toml"),
        include_str!("catalog/code.toml"),
        include_str!("catalog/work.toml"),
        include_str!("catalog/agents.toml"),
        include_str!("catalog/packs.toml"),
    ]
    .map(|text| {
        read::read(text).expect("the catalog is a part of the program, and a test reads it")
    });
    Catalog {
        bundles: [models.0, code.0, work.0, agents.0].concat(),
        packs: packs.1,
    }
});

/// All bundles, in the order of the catalog: providers of models, code, work, agents.
#[must_use]
pub fn bundles() -> &'static [Bundle] {
    &CATALOG.bundles
}

/// All packs.
#[must_use]
pub fn packs() -> &'static [Pack] {
    &CATALOG.packs
}

/// The bundle of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Bundle> {
    bundles().iter().find(|bundle| bundle.name == name)
}

/// The pack of this name, with or without `pack:` in front.
#[must_use]
pub fn find_pack(name: &str) -> Option<&'static Pack> {
    let name = name.strip_prefix("pack:").unwrap_or(name);
    packs().iter().find(|pack| pack.name == name)
}

/// The bundles that cover a host, in the catalog's order: those about an API stand before those about agents.
pub fn for_host(host: &Host) -> impl Iterator<Item = &'static Bundle> {
    bundles()
        .iter()
        .filter(move |bundle| bundle.services.iter().any(|service| service.covers(host)))
}

/// The packs that cover a host.
pub fn packs_for_host(host: &Host) -> impl Iterator<Item = &'static Pack> {
    packs()
        .iter()
        .filter(move |pack| pack.services.iter().any(|service| service.covers(host)))
}

/// The credential that clients read from a variable of this name, with its bundle.
#[must_use]
pub fn for_variable(name: &str) -> Option<(&'static Bundle, &'static Needed)> {
    let own = |needed: &Needed| needed.name == name;
    let any = |needed: &Needed| needed.all_variables().any(|variable| variable == name);
    needed(own).or_else(|| needed(any))
}

/// The credential whose vendor hands out values of this shape, with its bundle. Of several beginnings the longest counts.
#[must_use]
pub fn for_value(value: &[u8]) -> Option<(&'static Bundle, &'static Needed)> {
    let fit = |needed: &Needed| {
        let starts = needed.shape.iter();
        let fits = starts.filter(|start| {
            // The beginning alone is the name of a shape and no value.
            value.starts_with(start.as_bytes()) && value.len() >= start.len() + 8
        });
        fits.map(String::len).max()
    };
    let longest = bundles()
        .iter()
        .flat_map(|bundle| &bundle.credentials)
        .filter_map(fit)
        .max()?;
    needed(|needed| fit(needed) == Some(longest))
}

fn needed(is_meant: impl Fn(&Needed) -> bool) -> Option<(&'static Bundle, &'static Needed)> {
    bundles().iter().find_map(|bundle| {
        let found = bundle.credentials.iter().find(|needed| is_meant(needed));
        found.map(|needed| (bundle, needed))
    })
}

#[cfg(test)]
mod tests;
