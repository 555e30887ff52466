//! Names that no placeholder takes, whatever a credential is called.

/// What programs run code by, or find code by.
const STEERING: [&str; 13] = [
    "PATH",
    "HOME",
    "SHELL",
    "USER",
    "IFS",
    "ENV",
    "BASH_ENV",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PERL5OPT",
    "RUBYOPT",
];
/// What a shell or a terminal relies on.
const SHELL: [&str; 8] = [
    "PWD", "OLDPWD", "TERM", "LANG", "TMPDIR", "LOGNAME", "DISPLAY", "EDITOR",
];

/// Whether programs are steered by it: a credential of that name must not become a way to run code.
#[must_use]
pub fn steers(name: &str) -> bool {
    STEERING.contains(&name) || starts(name, &["LD_", "DYLD_", "GIT_"])
}

/// Whether a shell or terminal relies on it when it is there.
#[must_use]
pub fn is_shell(name: &str) -> bool {
    SHELL.contains(&name) || starts(name, &["LC_", "XDG_"])
}

/// Whether it is Sortie's own: keys are named so.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    name.get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("SORTIE_"))
}

fn starts(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}
