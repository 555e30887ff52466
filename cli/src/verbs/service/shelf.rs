//! `sortie service catalog`: what `sortie service add` knows. It asks nobody.

use serde_json::{Value, json};
use sortie_proto::catalog::{self, Bundle, Entry, Needed, Pack, PointsAt};

use crate::error::{Error, Result};
use crate::output::{Column, Output};

pub(super) const EXAMPLE: &str = "\
Examples:
  sortie service catalog
  sortie service catalog github
  sortie service catalog pack:npm --output json";

const COLUMNS: [Column; 4] = [
    ("NAME", "/name"),
    ("TITLE", "/title"),
    ("CREDENTIALS", "/credential_names"),
    ("HOST", "/host"),
];

const SERVICES: [Column; 5] = [
    ("SERVICE", "/name"),
    ("HOST", "/spec/host"),
    ("PATH", "/spec/path"),
    ("METHODS", "/spec/methods"),
    ("INJECTS", "/injects"),
];

const CREDENTIALS: [Column; 4] = [
    ("CREDENTIAL", "/name"),
    ("VARIABLES", "/variables"),
    ("PLACEHOLDER", "/placeholder"),
    ("HOW TO GET ONE", "/obtain"),
];

const FILES: [Column; 3] = [
    ("FILE", "/path"),
    ("VARIABLE", "/variable"),
    ("POINTS AT", "/points_at"),
];

/// Lists the catalog, or shows one of it.
///
/// # Errors
/// [`Error::Failed`] if there is no such bundle or pack.
pub(super) fn show(name: Option<&str>, out: Output) -> Result<()> {
    let Some(name) = name else {
        let bundles = catalog::bundles().iter().map(bundle);
        let all: Vec<_> = bundles.chain(catalog::packs().iter().map(pack)).collect();
        return out.list(&all, &COLUMNS);
    };
    let found = if name.starts_with("pack:") {
        catalog::find_pack(name).map(pack)
    } else {
        catalog::find(name).map(bundle)
    };
    let found = found.ok_or_else(|| unknown(name))?;
    if out.is_json() {
        return out.object(&found, &[]);
    }
    let sections: [(&str, &[Column]); 3] = [
        ("/services", &SERVICES),
        ("/credentials", &CREDENTIALS),
        ("/files", &FILES),
    ];
    let head = [
        ("NAME", "/name"),
        ("TITLE", "/title"),
        ("ABOUT", "/about"),
        ("DOCS", "/docs"),
        ("SOURCE", "/source"),
        ("TERMS", "/terms"),
        ("ENVIRONMENT", "/environment"),
    ];
    out.object(&found, &head)?;
    for (place, columns) in sections {
        if let Some(Value::Array(rows)) = found.pointer(place)
            && !rows.is_empty()
        {
            out.line("");
            out.list(rows, columns)?;
        }
    }
    Ok(())
}

/// There is nothing of this name.
pub(super) fn unknown(name: &str) -> Error {
    Error::failed(
        format!("the catalog has no `{name}`"),
        "`sortie service catalog` lists it; `sortie service set NAME --host HOST` makes any other service.",
    )
}

fn bundle(bundle: &Bundle) -> Value {
    let names: Vec<_> = bundle
        .credentials
        .iter()
        .map(|needed| &needed.name)
        .collect();
    let variables = bundle.environment.iter().map(|(name, text)| {
        let placeholder = |name: &str| bundle.credential(name).map(|it| it.placeholder.clone());
        (
            name.clone(),
            text.render(placeholder).unwrap_or_default().into(),
        )
    });
    json!({
        "name": bundle.name,
        "title": bundle.title,
        "about": bundle.about,
        "docs": bundle.docs,
        "terms": bundle.terms,
        "host": bundle.services.first().map(|entry| entry.host.to_string()),
        "credential_names": names,
        "credentials": bundle.credentials.iter().map(needed).collect::<Vec<_>>(),
        "services": bundle.services.iter().map(entry).collect::<Vec<_>>(),
        "environment": variables.collect::<serde_json::Map<_, _>>(),
        "files": bundle.files.iter().map(|file| json!({
            "path": file.path,
            "variable": file.variable,
            "points_at": match file.points_at {
                PointsAt::File => "file",
                PointsAt::Folder => "folder",
            },
        })).collect::<Vec<_>>(),
    })
}

fn pack(pack: &Pack) -> Value {
    json!({
        "name": format!("pack:{}", pack.name),
        "title": pack.title,
        "about": pack.about,
        "source": pack.source,
        "host": pack.services.first().map(|entry| entry.host.to_string()),
        "services": pack.services.iter().map(entry).collect::<Vec<_>>(),
    })
}

fn needed(needed: &Needed) -> Value {
    json!({
        "name": needed.name,
        "variables": needed.all_variables().collect::<Vec<_>>(),
        "placeholder": needed.placeholder,
        "obtain": needed.obtain,
    })
}

fn entry(entry: &Entry) -> Value {
    let mut service = json!({"name": entry.name, "spec": entry.body()});
    super::summarise(&mut service);
    service
}
