//! Settings in files that win over the environment: git's, npm's, pip's, curl's, Cargo's.
//!
//! Only what takes traffic past the gateway or changes what is trusted is told, each with the command that removes it.
//! Invariant: a value is shown with passwords taken out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::environment::{Environment, Named};
use super::finding::{Finding, conceal};

/// How long git may take to list its settings.
const TIME: Duration = Duration::from_secs(10);

/// What the files are compared with.
#[derive(Debug)]
pub(super) struct Meant<'a> {
    /// The proxy of the environment.
    pub(super) proxy: Option<&'a Named>,
    /// Whether a file holds the authority of a tenant.
    pub(super) trusts: fn(&Path) -> bool,
}

/// All files of the tools that are here.
pub(super) async fn check(environment: &Environment, meant: &Meant<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if environment.find("git").is_some() {
        let told = git_settings().await.unwrap_or_default();
        found.extend(git(&told, environment, meant));
    }
    for (tool, files) in [
        (Tool::Npm, npm_files(environment)),
        (Tool::Pip, pip_files(environment)),
        (
            Tool::Curl,
            home_files(environment, &[".curlrc", ".config/curlrc"]),
        ),
        (
            Tool::Cargo,
            home_files(environment, &[".cargo/config.toml", ".cargo/config"]),
        ),
    ] {
        for file in files {
            if let Ok(text) = fs::read_to_string(&file) {
                found.extend(tool.check(&text, &file, environment, meant));
            }
        }
    }
    if found.is_empty() {
        found.push(Finding::ok(
            "settings",
            "no file of git, npm, pip, curl or Cargo overrides the environment",
        ));
    }
    found
}

/// git's settings about HTTP, as `git config --null` tells them.
async fn git_settings() -> Option<String> {
    let listed = Command::new("git")
        .args(["config", "--null", "--show-scope", "--get-regexp"])
        .arg(r"^(http\..*|remote\..*\.proxy)$")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let listed = tokio::time::timeout(TIME, listed).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&listed.stdout).into_owned())
}

fn git(told: &str, environment: &Environment, meant: &Meant<'_>) -> Vec<Finding> {
    let mut parts = told.split('\0');
    let mut found = Vec::new();
    while let (Some(scope), Some(setting)) = (parts.next(), parts.next()) {
        let (key, value) = setting.split_once('\n').unwrap_or((setting, ""));
        // A key may hold a URL, with a password in it.
        let shown = conceal(key);
        let unset = match scope {
            "command" => "unset GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS".to_owned(),
            scope if shown != key => format!("git config --{scope} --edit"),
            scope => format!("git config --{scope} --unset-all {key}"),
        };
        let lower = key.to_ascii_lowercase();
        let name = lower.rsplit('.').next().unwrap_or_default();
        match name {
            "proxy" if !is_meant(value, meant) => found.push(Finding::fault(
                "git config",
                format!(
                    "{shown} sends git to {} and wins over HTTPS_PROXY",
                    or_nowhere(value)
                ),
                unset,
            )),
            "sslcainfo"
                if environment.get("GIT_SSL_CAINFO").is_none()
                    && !(meant.trusts)(Path::new(value)) =>
            {
                found.push(Finding::fault(
                    "git config",
                    format!("{shown} names {value}, which does not hold the tenant's authority"),
                    unset,
                ));
            }
            "sslverify" if matches!(value, "false" | "no" | "off" | "0") => {
                found.push(Finding::warning(
                    "git config",
                    format!("{shown} is {value}: git verifies no certificate"),
                    unset,
                ));
            }
            _ => {}
        }
    }
    found
}

fn or_nowhere(value: &str) -> String {
    if value.is_empty() {
        return "no proxy".to_owned();
    }
    conceal(value)
}

fn is_meant(value: &str, meant: &Meant<'_>) -> bool {
    match (Named::parse(value), meant.proxy) {
        (Some(named), Some(proxy)) => named.is_same(proxy),
        _ => false,
    }
}

/// A tool whose files have a setting a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Npm,
    Pip,
    Curl,
    Cargo,
}

impl Tool {
    const fn row(self) -> &'static str {
        match self {
            Self::Npm => "npm config",
            Self::Pip => "pip config",
            Self::Curl => "curl config",
            Self::Cargo => "cargo config",
        }
    }

    /// The settings that send traffic elsewhere, those that say what is trusted, and those that verify nothing.
    const fn names(self) -> [&'static [&'static str]; 3] {
        match self {
            Self::Npm => [
                &["proxy", "https-proxy"],
                &["cafile"],
                &["strict-ssl=false"],
            ],
            Self::Pip => [&["proxy"], &["cert"], &["trusted-host"]],
            Self::Curl => [&["proxy", "x"], &["cacert"], &["insecure", "k"]],
            Self::Cargo => [&["http.proxy"], &["http.cainfo"], &[]],
        }
    }

    /// The variables that win over the file, for the proxy and for what is trusted.
    const fn winners(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Npm => (
                &["npm_config_https_proxy", "npm_config_proxy"],
                "npm_config_cafile",
            ),
            Self::Pip => (&["PIP_PROXY"], "PIP_CERT"),
            // curl's file is read as arguments, which win over variables.
            Self::Curl => (&[], ""),
            Self::Cargo => (&["CARGO_HTTP_PROXY"], "CARGO_HTTP_CAINFO"),
        }
    }

    fn check(
        self,
        text: &str,
        file: &Path,
        environment: &Environment,
        meant: &Meant<'_>,
    ) -> Vec<Finding> {
        let [proxies, roots, careless] = self.names();
        let (proxy_winners, roots_winner) = self.winners();
        let is_overridden = |name: &str| environment.get(name).is_some();
        let fix = |name: &str| format!("sed -i.bak '/{name}/d' {}", file.display());
        let shown = file.display();
        let mut found = Vec::new();
        for (name, value) in settings(text) {
            let is = |names: &[&str]| names.contains(&name.as_str());
            let both = format!("{name}={value}");
            let last = name.rsplit('.').next().unwrap_or(&name);
            if is(proxies)
                && !proxy_winners.iter().any(|name| is_overridden(name))
                && !is_meant(&value, meant)
            {
                let seen = format!(
                    "{shown}: {name} is {}, and wins over HTTPS_PROXY",
                    or_nowhere(&value)
                );
                found.push(Finding::fault(self.row(), seen, fix(last)));
            } else if is(roots)
                && !is_overridden(roots_winner)
                && !(meant.trusts)(Path::new(&value))
            {
                let seen = format!(
                    "{shown}: {name} is {value}, which does not hold the tenant's authority"
                );
                found.push(Finding::fault(self.row(), seen, fix(last)));
            } else if is(careless) || careless.contains(&both.as_str()) {
                let seen = format!("{shown}: {name} switches verification off");
                found.push(Finding::warning(self.row(), seen, fix(last)));
            }
        }
        found
    }
}

/// `name = value`, `name: value` and `name value` lines, in lower case and without quotes; `[section]`s of TOML stand in
/// front of their names, but for those of INI files that pip reads all alike.
fn settings(text: &str) -> Vec<(String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = match name.trim() {
                "http" => "http.".to_owned(),
                _ => String::new(),
            };
            continue;
        }
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let end = line.find(|c: char| matches!(c, '=' | ':') || c.is_whitespace());
        let (name, rest) = line.split_at(end.unwrap_or(line.len()));
        let value = rest.trim_start_matches(|c: char| matches!(c, '=' | ':') || c.is_whitespace());
        let name = name.trim_start_matches('-').to_ascii_lowercase();
        let value = value.trim().trim_matches(['"', '\'']);
        found.push((format!("{section}{name}"), value.to_owned()));
    }
    found
}

fn npm_files(environment: &Environment) -> Vec<PathBuf> {
    let user = environment
        .get("NPM_CONFIG_USERCONFIG")
        .or_else(|| environment.get("npm_config_userconfig"));
    let mut files = vec![PathBuf::from(".npmrc")];
    match user {
        Some(path) => files.push(PathBuf::from(path)),
        None => files.extend(home_files(environment, &[".npmrc"])),
    }
    files.dedup();
    files
}

fn pip_files(environment: &Environment) -> Vec<PathBuf> {
    let mut files = vec![PathBuf::from("/etc/pip.conf")];
    files.extend(home_files(
        environment,
        &[".config/pip/pip.conf", ".pip/pip.conf"],
    ));
    let virtual_environment = environment.get("VIRTUAL_ENV");
    files.extend(virtual_environment.map(|path| Path::new(path).join("pip.conf")));
    files.extend(environment.get("PIP_CONFIG_FILE").map(PathBuf::from));
    files
}

fn home_files(environment: &Environment, names: &[&str]) -> Vec<PathBuf> {
    let home = environment.home();
    names
        .iter()
        .filter_map(|name| Some(home?.join(name)))
        .collect()
}

#[cfg(test)]
mod tests;
