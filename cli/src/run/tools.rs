//! What the tools of known vendors need, of what the vaults hold, and its files on disk.

use sortie_proto::catalog::tools::Held;
pub(crate) use sortie_proto::catalog::tools::Tools;

use super::trust::Folder;
use super::vault::Vaults;
use crate::error::Result;

/// What a command's tools get; what is in `keep` is left to the user.
pub(crate) fn of(vaults: &Vaults, folder: &str, keep: &[String]) -> Tools {
    let credentials = vaults.credentials.iter();
    let on = vaults.services.iter().filter(|service| service.enabled);
    let held = Held {
        credentials: credentials
            .map(|credential| (&*credential.name, &*credential.placeholder))
            .collect(),
        hosts: on.map(|service| &service.host).collect(),
    };
    Tools::new(&held, folder, keep)
}

/// Writes the files.
///
/// # Errors
/// As [`Folder::put`].
pub(crate) fn write(tools: &Tools, folder: &Folder) -> Result<()> {
    let mut files = tools.files.iter();
    files.try_for_each(|(path, content)| folder.put(path, content.as_bytes()))
}

#[cfg(test)]
mod tests;
