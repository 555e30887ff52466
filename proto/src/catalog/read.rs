//! Reads the catalog's files: what they may say, and what that means.
//!
//! Everything that a gateway or control would refuse is refused here, by the same parsers.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Bundle, Entry, Needed, Pack, Piece, PointsAt, StubFile, Text};
use crate::credential::Surface;
use crate::host::{HostPattern, PathPattern};
use crate::service::{Injection, Placeholders, Scheme, Template, is_name};

/// Why a file of the catalog cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Invalid {
    /// The bundle or pack, and what in it.
    place: String,
    /// What is wrong.
    what: String,
}

type Result<T> = std::result::Result<T, Invalid>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    bundle: Vec<RawBundle>,
    #[serde(default)]
    pack: Vec<RawPack>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBundle {
    name: String,
    title: String,
    about: String,
    docs: String,
    terms: Option<String>,
    #[serde(default)]
    credential: Vec<RawNeeded>,
    service: Vec<RawEntry>,
    #[serde(default)]
    file: Vec<RawStub>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPack {
    name: String,
    title: String,
    about: String,
    source: String,
    service: Vec<RawEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNeeded {
    name: String,
    placeholder: String,
    #[serde(default)]
    variables: Vec<String>,
    #[serde(default)]
    shape: Vec<String>,
    obtain: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    name: String,
    host: String,
    scheme: Option<String>,
    port: Option<u16>,
    #[serde(default)]
    methods: Vec<String>,
    path: Option<String>,
    bearer: Option<String>,
    basic: Option<RawBasic>,
    #[serde(default)]
    header: BTreeMap<String, String>,
    #[serde(default)]
    query: BTreeMap<String, String>,
    placeholders: Option<RawPlaceholders>,
    #[serde(default)]
    encoded_slash: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBasic {
    username: String,
    credential: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlaceholders {
    credentials: Vec<String>,
    surfaces: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStub {
    path: String,
    variable: String,
    points_at: String,
    content: String,
}

/// Reads a file: its bundles and its packs.
///
/// # Errors
/// [`Invalid`] names the first thing that is wrong.
pub(super) fn read(text: &str) -> Result<(Vec<Bundle>, Vec<Pack>)> {
    let raw: RawFile = toml::from_str(text).map_err(|error| invalid("file", &error))?;
    let bundles = raw.bundle.into_iter().map(bundle).collect::<Result<_>>()?;
    let packs = raw.pack.into_iter().map(pack).collect::<Result<_>>()?;
    Ok((bundles, packs))
}

fn invalid(place: &str, what: &impl ToString) -> Invalid {
    Invalid {
        place: place.to_owned(),
        what: what.to_string(),
    }
}

fn bundle(raw: RawBundle) -> Result<Bundle> {
    let place = raw.name.clone();
    let within = |place: &str, name: &str| format!("{place}, {name}");
    let credentials: Vec<Needed> = raw
        .credential
        .into_iter()
        .map(|raw| needed(&within(&place, &raw.name), raw))
        .collect::<Result<_>>()?;
    let services: Vec<Entry> = raw
        .service
        .into_iter()
        .map(|raw| entry(&within(&place, &raw.name), raw))
        .collect::<Result<_>>()?;
    let files: Vec<StubFile> = raw
        .file
        .into_iter()
        .map(|raw| stub(&within(&place, &raw.path), raw))
        .collect::<Result<_>>()?;
    let environment: Vec<(String, Text)> = raw
        .environment
        .into_iter()
        .map(|(name, value)| Ok((name, text(&place, &value)?)))
        .collect::<Result<_>>()?;
    let bundle = Bundle {
        name: check_name(&place, raw.name)?,
        title: raw.title,
        about: raw.about,
        docs: raw.docs,
        terms: raw.terms,
        credentials,
        services,
        files,
        environment,
    };
    check_credentials(&bundle)?;
    Ok(bundle)
}

/// What services, files and variables name is there, and nothing is there in vain.
fn check_credentials(bundle: &Bundle) -> Result<()> {
    let in_services = bundle.services.iter().flat_map(Entry::credentials);
    let in_files = bundle
        .files
        .iter()
        .flat_map(|file| file.content.credentials());
    let in_variables = bundle.environment.iter();
    let in_variables = in_variables.flat_map(|(_, text)| text.credentials());
    for name in in_services.chain(in_files).chain(in_variables) {
        if bundle.credential(name).is_none() {
            return Err(invalid(
                &bundle.name,
                &format!("{name} is no credential of it"),
            ));
        }
    }
    for needed in &bundle.credentials {
        if bundle.destinations(&needed.name).next().is_none() {
            return Err(invalid(
                &bundle.name,
                &format!("no service uses {}", needed.name),
            ));
        }
    }
    Ok(())
}

fn pack(raw: RawPack) -> Result<Pack> {
    let place = format!("pack:{}", raw.name);
    let name = check_name(&place, raw.name)?;
    let services = raw.service.into_iter().map(|mut raw| {
        if raw.methods.is_empty() {
            raw.methods = vec!["GET".to_owned(), "HEAD".to_owned()];
        }
        raw.name = format!("pack-{name}-{}", raw.name);
        let entry = entry(&place, raw)?;
        let used = entry.credentials().next().map(str::to_owned);
        match used {
            None => Ok(entry),
            Some(name) => Err(invalid(
                &place,
                &format!("a pack has no credentials, but {name}"),
            )),
        }
    });
    Ok(Pack {
        services: services.collect::<Result<_>>()?,
        title: raw.title,
        about: raw.about,
        source: raw.source,
        name,
    })
}

fn check_name(place: &str, name: String) -> Result<String> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(is_letter) {
        let what = "a name is 1 to 63 lower-case letters, digits and hyphens";
        return Err(invalid(place, &what));
    }
    Ok(name)
}

fn needed(place: &str, raw: RawNeeded) -> Result<Needed> {
    if !raw
        .variables
        .iter()
        .chain([&raw.name])
        .all(|name| is_name(name))
    {
        return Err(invalid(
            place,
            &"a name is not one of a credential or variable",
        ));
    }
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.~-".contains(&byte);
    if !(4..=128).contains(&raw.placeholder.len()) || !raw.placeholder.bytes().all(is_fine) {
        return Err(invalid(place, &"the placeholder is not one"));
    }
    Ok(Needed {
        name: raw.name,
        placeholder: raw.placeholder,
        variables: raw.variables,
        shape: raw.shape,
        obtain: raw.obtain,
    })
}

fn entry(place: &str, raw: RawEntry) -> Result<Entry> {
    let scheme = raw.scheme.as_deref().unwrap_or("https");
    let scheme = Scheme::from_name(scheme).ok_or_else(|| invalid(place, &"no such scheme"))?;
    let host = HostPattern::parse(&raw.host).map_err(|error| invalid(place, &error))?;
    let path = PathPattern::parse(raw.path.as_deref().unwrap_or("/**"))
        .map_err(|error| invalid(place, &error))?;
    let mut inject = Vec::new();
    inject.extend(
        raw.bearer
            .map(|credential| Injection::Bearer { credential }),
    );
    inject.extend(raw.basic.map(|raw| Injection::Basic {
        username: raw.username,
        credential: raw.credential,
    }));
    for (name, text) in raw.header {
        let template = Template::parse(&text).map_err(|error| invalid(place, &error))?;
        inject.push(Injection::Header { name, template });
    }
    inject.extend(
        raw.query
            .into_iter()
            .map(|(name, credential)| Injection::Query { name, credential }),
    );
    Ok(Entry {
        name: check_name(place, raw.name)?,
        scheme,
        host,
        port: raw.port,
        methods: raw.methods,
        path,
        inject,
        placeholders: raw
            .placeholders
            .map(|raw| placeholders(place, raw))
            .transpose()?,
        encoded_slash: raw.encoded_slash,
    })
}

fn placeholders(place: &str, raw: RawPlaceholders) -> Result<Placeholders> {
    let surfaces = raw.surfaces.iter().map(|name| Surface::from_name(name));
    Ok(Placeholders {
        credentials: raw.credentials,
        surfaces: surfaces
            .collect::<Option<_>>()
            .ok_or_else(|| invalid(place, &"no such surface"))?,
    })
}

fn stub(place: &str, raw: RawStub) -> Result<StubFile> {
    let is_relative = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !raw.path.split('/').all(is_relative) {
        return Err(invalid(place, &"a path is relative, without dot segments"));
    }
    let points_at = match raw.points_at.as_str() {
        "file" => PointsAt::File,
        "folder" if raw.path.contains('/') => PointsAt::Folder,
        _ => {
            return Err(invalid(
                place,
                &"points_at is `file`, or `folder` where there is one",
            ));
        }
    };
    Ok(StubFile {
        content: text(place, &raw.content)?,
        path: raw.path,
        variable: raw.variable,
        points_at,
    })
}

fn text(place: &str, text: &str) -> Result<Text> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, behind) = after
            .split_once("}}")
            .ok_or_else(|| invalid(place, &"a {{ has no }}"))?;
        if !is_name(name.trim()) {
            return Err(invalid(place, &"between {{ and }} stands no name"));
        }
        pieces.push(Piece::Literal(before.to_owned()));
        pieces.push(Piece::Placeholder(name.trim().to_owned()));
        rest = behind;
    }
    pieces.push(Piece::Literal(rest.to_owned()));
    Ok(Text(pieces))
}
