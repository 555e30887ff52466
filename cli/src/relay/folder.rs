//! What an agent beside a relay reads, in a folder that both have: certificates in each form, and an environment for a
//! shell that leads to the relay.
//!
//! Invariants: the session's token is in none of it. A file is there whole or not at all. Who may read the folder may read
//! the certificates; the relay's password, where there is one, is its owner's alone.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use nix::unistd::{Uid, geteuid};
use sortie_proto::environment::Proxy;
use sortie_proto::secret::Secret;
use tempfile::NamedTempFile;

use super::listen::Place;
use crate::config::Context;
use crate::env;
use crate::error::{Error, Result};
use crate::run::environment::Way;
use crate::run::plan::{self, Plan};
use crate::run::session::Wanted;
use crate::run::tools::Tools;
use crate::run::trust::{AUTHORITY, BUNDLE, STORE};

/// Read by `. FOLDER/environment.sh`.
const ENVIRONMENT: &str = "environment.sh";
/// Certificates are no secret.
const READABLE: u32 = 0o644;
const PRIVATE: u32 = 0o600;

/// Writes it for the relay that will be at a place, with the password that it will ask for, before a gateway.
///
/// # Errors
/// [`Error::Usage`] for a place that no variable can name, [`Error::File`], and as [`Plan::make`].
pub(super) async fn write(
    folder: &Path,
    wanted: &Wanted,
    ((place, password), gateway): ((&Place, Option<&Secret>), plan::Place),
    context: &Context,
) -> Result<()> {
    let proxy = match place {
        Place::Port(address) if address.port() != 0 => {
            Proxy::parse(&format!("http://{address}"))
                .map_err(|error| Error::Config(error.to_string()))?
        }
        Place::Port(_) | Place::Socket(_) => {
            return Err(Error::Usage(
                "--folder names the relay's port: choose one with --listen 127.0.0.1:PORT"
                    .to_owned(),
            ));
        }
    };
    fs::create_dir_all(folder).map_err(|source| Error::file("make", folder, source))?;
    let folder = folder
        .canonicalize()
        .map_err(|source| Error::file("find", folder, source))?;
    trusted(&folder)?;
    let name = folder
        .to_str()
        .ok_or_else(|| Error::Config(format!("{} is not UTF-8", folder.display())))?;
    let plan = Plan::make(wanted, gateway, context).await?;
    let way = Way {
        proxy: &proxy,
        password,
    };
    let composed = plan.compose([], way, (name, &Tools::default()));
    let environment = env::shell(&composed)?;
    let trust = &plan.trust;
    put(
        &folder.join(AUTHORITY),
        trust.authority.as_bytes(),
        READABLE,
    )?;
    put(&folder.join(BUNDLE), trust.bundle.as_bytes(), READABLE)?;
    put(&folder.join(STORE), &trust.store, READABLE)?;
    let mode = if password.is_some() {
        PRIVATE
    } else {
        READABLE
    };
    put(&folder.join(ENVIRONMENT), environment.as_bytes(), mode)?;
    for note in plan.notes(&composed) {
        context.out.note(&format!("sortie: {note}"));
    }
    Ok(())
}

/// Refuses a folder of another user's, who could put an authority of their own in the place of ours. Root's is fine: that
/// is what volumes are.
fn trusted(folder: &Path) -> Result<()> {
    let found = fs::metadata(folder).map_err(|source| Error::file("look at", folder, source))?;
    if is_trusted(found.uid(), geteuid()) {
        return Ok(());
    }
    Err(Error::failed(
        format!("{} belongs to another user", folder.display()),
        "Name a folder of the relay's own user, or of root: its owner decides what the agent trusts.",
    ))
}

fn is_trusted(owner: u32, user: Uid) -> bool {
    owner == user.as_raw() || owner == 0
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let failed = |source| Error::file("write", path, source);
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let mut draft = NamedTempFile::new_in(folder).map_err(failed)?;
    draft.write_all(bytes).map_err(failed)?;
    // By its handle: at its path may be something else by now.
    let permissions = Permissions::from_mode(mode);
    draft
        .as_file()
        .set_permissions(permissions)
        .map_err(failed)?;
    draft.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests;
