//! Where a test has a stage panic. Only debug builds look; in a release there is nothing here.

/// Panics in a stage for requests to `/json/panic/` and its name, if the environment has `SORTIE_TEST_PANIC`.
#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "that is what it is for")]
pub(crate) fn point(stage: &str, path: &str) {
    use std::sync::LazyLock;

    static WANTED: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("SORTIE_TEST_PANIC").is_some());
    if *WANTED && path.strip_prefix("/json/panic/") == Some(stage) {
        std::panic::panic_any("as a test wanted it");
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub(crate) const fn point(_stage: &str, _path: &str) {}
