//! Where control is, and with which key: arguments, then the environment, then a profile. The only reader of the
//! environment.
//!
//! A profile is a table of `$XDG_CONFIG_HOME/sortie/config.toml` (mode 0600) and names files, never keys. `sortie dev`
//! writes the one called `dev`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sortie_proto::secret::Secret;

use crate::args::Connection;
use crate::client::{Client, NO_KEY};
use crate::error::{Error, Result};
use crate::output::Output;

/// Where control listens if nobody says otherwise.
pub(crate) const API_URL: &str = "http://127.0.0.1:7300";
/// Where the gateway listens if nobody says otherwise.
pub(crate) const PROXY: &str = "http://127.0.0.1:7380";
/// The longest key file, in bytes.
pub(crate) const KEY_FILE_MAX: u64 = 4096;

/// What a command needs to talk to control.
#[derive(Debug)]
pub(crate) struct Context {
    /// Speaks REST.
    pub(crate) client: Client,
    /// Prints.
    pub(crate) out: Output,
    /// An id, a name, or `-` for the key's own tenant.
    pub(crate) tenant: String,
    /// The vault of commands that name none.
    pub(crate) vault: String,
    /// The agent of sessions that name none; `None` where the key is an agent's own.
    pub(crate) agent: Option<String>,
    /// The gateway, as a URL.
    pub(crate) proxy: String,
}

/// A profile: everything but the key itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Profile {
    /// The base URL of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) api_url: Option<String>,
    /// The file that holds the API key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// The vault of commands that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) vault: Option<String>,
    /// The agent of sessions that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
    /// The gateway, as a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    /// The profile of commands that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    profiles: BTreeMap<String, Profile>,
}

/// A variable of the environment, if it is there and is text.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the only reader of the environment"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where a program stands, as a shell finds it.
#[cfg(target_os = "linux")]
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let folders = variable("PATH")?;
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// All of the environment: what a child inherits starts from it.
pub(crate) fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// Puts together where control is and with which key.
///
/// # Errors
/// [`Error::Config`] if there is no key, or something that was named cannot be used.
pub(crate) fn connect(connection: Connection, out: Output) -> Result<Context> {
    let context = connect_with(connection, out)?;
    match context.client.has_key() {
        true => Ok(context),
        false => Err(Error::Config(NO_KEY.to_owned())),
    }
}

/// The same for what may have a session in the place of a key: without either it fails.
///
/// # Errors
/// As [`connect`]'s.
pub(crate) fn connect_for(
    has_session: bool,
    connection: Connection,
    out: Output,
) -> Result<Context> {
    match has_session {
        true => connect_with(connection, out),
        false => connect(connection, out),
    }
}

fn connect_with(connection: Connection, out: Output) -> Result<Context> {
    let path = profiles_path()?;
    let profile = pick(read_profiles(&path)?, connection.profile.as_deref(), &path)?;
    let api_url = connection
        .api_url
        .or(profile.api_url)
        .unwrap_or_else(|| API_URL.to_owned());
    let key = find_key(profile.key_file.as_deref())?;
    Ok(Context {
        client: match key {
            Some(key) => Client::new(&api_url, &key, connection.allow_http)?,
            None => Client::without_key(&api_url)?,
        },
        out,
        tenant: connection
            .tenant
            .or(profile.tenant)
            .unwrap_or_else(|| "-".to_owned()),
        vault: variable("SORTIE_VAULT")
            .or(profile.vault)
            .unwrap_or_else(|| "default".to_owned()),
        agent: profile.agent,
        proxy: profile.proxy.unwrap_or_else(|| PROXY.to_owned()),
    })
}

/// Whether commands that name no profile use this one, with nothing of the environment in its way.
pub(crate) fn is_current(name: &str, api_url: &str) -> bool {
    let file = profiles_path().and_then(|path| read_profiles(&path));
    let elsewhere = variable("SORTIE_API_URL").is_some_and(|url| url != api_url);
    !elsewhere && file.is_ok_and(|file| file.current.as_deref() == Some(name))
}

fn pick(mut file: File, named: Option<&str>, path: &Path) -> Result<Profile> {
    let Some(name) = named.or(file.current.as_deref()).map(str::to_owned) else {
        return Ok(Profile::default());
    };
    match file.profiles.remove(&name) {
        Some(profile) => Ok(profile),
        None => Err(no_profile(&name, path)),
    }
}

fn no_profile(name: &str, path: &Path) -> Error {
    Error::Config(format!(
        "there is no profile `{name}` in {}: `sortie profile list` lists them",
        path.display()
    ))
}

fn find_key(profile: Option<&Path>) -> Result<Option<Secret>> {
    if let Some(key) = variable("SORTIE_API_KEY").filter(|key| !key.is_empty()) {
        return Ok(Some(Secret::new(key.trim().as_bytes().to_vec())));
    }
    let named = variable("SORTIE_API_KEY_FILE").map(PathBuf::from);
    named.as_deref().or(profile).map(read_key).transpose()
}

/// Reads a key from its file.
///
/// # Errors
/// [`Error::File`], and [`Error::Config`] if the file cannot be one.
pub(crate) fn read_key(path: &Path) -> Result<Secret> {
    let length = fs::metadata(path)
        .map_err(|source| Error::file("read", path, source))?
        .len();
    if length == 0 || length > KEY_FILE_MAX {
        return Err(Error::Config(format!("{} holds no key", path.display())));
    }
    let bytes = fs::read(path).map_err(|source| Error::file("read", path, source))?;
    let key = Secret::new(bytes);
    Ok(Secret::new(key.expose().trim_ascii().to_vec()))
}

/// Where profiles stand.
///
/// # Errors
/// [`Error::Config`] without a home.
pub(crate) fn profiles_path() -> Result<PathBuf> {
    Ok(folder("XDG_CONFIG_HOME", ".config")?.join("config.toml"))
}

/// Where `sortie dev` keeps its data if nobody says otherwise.
///
/// Root's home is closed to others, and PostgreSQL, which refuses to run as root, has to get to its folder.
///
/// # Errors
/// [`Error::Config`] without a home.
pub(crate) fn dev_folder() -> Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/sortie/dev"));
    }
    Ok(data_folder()?.join("dev"))
}

/// Where this user's own data is kept.
///
/// # Errors
/// [`Error::Config`] without a home.
pub(crate) fn data_folder() -> Result<PathBuf> {
    folder("XDG_DATA_HOME", ".local/share")
}

/// Where files stand that outlive a command.
///
/// # Errors
/// [`Error::Config`] without a home.
pub(crate) fn state_folder() -> Result<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

/// Where keys of Sortie and records of imported secrets are, as far as this process knows: what a command that is isolated
/// is not shown.
pub(crate) fn private_paths() -> Vec<PathBuf> {
    let profiles = profiles_path().ok();
    let listed = profiles.as_deref().map(read_profiles);
    let profiled = listed.and_then(Result::ok).map(|file| file.profiles);
    let keys = profiled
        .into_iter()
        .flatten()
        .filter_map(|(_, profile)| profile.key_file);
    let named = variable("SORTIE_API_KEY_FILE").map(PathBuf::from);
    let folder = profiles
        .as_deref()
        .and_then(Path::parent)
        .map(Path::to_owned);
    keys.chain(named)
        .chain(folder)
        .chain(dev_folder().ok())
        .chain(state_folder().ok())
        .collect()
}

/// A folder of the user's: what a variable names, or a place under the home.
pub(crate) fn user_folder(variable_name: &str, under_home: &str) -> Option<PathBuf> {
    variable(variable_name)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(under_home)))
}

fn folder(variable_name: &str, under_home: &str) -> Result<PathBuf> {
    user_folder(variable_name, under_home)
        .map(|base| base.join("sortie"))
        .ok_or_else(|| Error::Config(format!("neither {variable_name} nor HOME is set")))
}

fn read_profiles(path: &Path) -> Result<File> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(File::default()),
        Err(source) => return Err(Error::file("read", path, source)),
    };
    toml::from_str(&text)
        .map_err(|error| Error::Config(format!("{}: {}", path.display(), error.message())))
}

/// Adds or replaces one profile, and makes it the current one if there is no other.
///
/// # Errors
/// [`Error::File`], and [`Error::Config`] if what stands there is no file of profiles.
pub(crate) fn write_profile(path: &Path, name: &str, profile: Profile) -> Result<()> {
    let mut file = read_profiles(path)?;
    file.profiles.insert(name.to_owned(), profile);
    file.current.get_or_insert_with(|| name.to_owned());
    write_profiles(path, &file)
}

/// The name of the current profile, and all profiles by name.
///
/// # Errors
/// As [`write_profile`]'s.
pub(crate) fn profiles(path: &Path) -> Result<(Option<String>, BTreeMap<String, Profile>)> {
    let file = read_profiles(path)?;
    Ok((file.current, file.profiles))
}

/// The profile of a name.
///
/// # Errors
/// As [`write_profile`]'s, and [`Error::Config`] if there is none.
pub(crate) fn named_profile(path: &Path, name: &str) -> Result<Profile> {
    pick(read_profiles(path)?, Some(name), path)
}

/// Makes a profile current.
///
/// # Errors
/// As [`named_profile`]'s.
pub(crate) fn use_profile(path: &Path, name: &str) -> Result<()> {
    let mut file = read_profiles(path)?;
    if !file.profiles.contains_key(name) {
        return Err(no_profile(name, path));
    }
    file.current = Some(name.to_owned());
    write_profiles(path, &file)
}

/// Takes a profile out. If it is the current one, none is afterwards.
///
/// # Errors
/// As [`named_profile`]'s.
pub(crate) fn remove_profile(path: &Path, name: &str) -> Result<Profile> {
    let mut file = read_profiles(path)?;
    let removed = file
        .profiles
        .remove(name)
        .ok_or_else(|| no_profile(name, path))?;
    file.current = file.current.filter(|current| current != name);
    write_profiles(path, &file)?;
    Ok(removed)
}

/// Writes a key to a file of its own, in a folder that only its owner may enter.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn write_key(path: &Path, key: &Secret) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(|source| Error::file("make", parent, source))?;
    }
    write_private(path, key.expose())
}

fn write_profiles(path: &Path, file: &File) -> Result<()> {
    let text = toml::to_string(file)
        .map_err(|error| Error::Config(format!("cannot write a profile: {error}")))?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|source| Error::file("make", parent, source))?;
    }
    write_private(path, text.as_bytes())
}

/// Writes a file that only its owner may read, whole or not at all.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(name);
    let write = || -> std::io::Result<()> {
        if let Err(error) = fs::remove_file(&draft)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|source| Error::file("write", path, source))
}

#[cfg(test)]
mod tests;
