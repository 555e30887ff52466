use super::super::find;
use super::*;

/// What a vault holds after `sortie service add` of bundles.
fn held(names: &[&str]) -> Held<'static> {
    let mut all = Held::default();
    for bundle in names.iter().map(|name| find(name).unwrap()) {
        all.hosts
            .extend(bundle.services.iter().map(|entry| &entry.host));
        let needed = bundle.credentials.iter();
        all.credentials
            .extend(needed.map(|needed| (&*needed.name, &*needed.placeholder)));
    }
    all
}

#[test]
fn a_bundle_brings_its_files_with_placeholders() {
    let tools = Tools::new(&held(&["github"]), "/f", &[]);
    let expect = ("GH_CONFIG_DIR".to_owned(), "/f/gh".to_owned());
    assert!(tools.variables.contains(&expect), "{tools:?}");
    let (path, content) = &tools.files[0];
    assert_eq!(path, "gh/hosts.yml");
    let placeholder = &find("github").unwrap().credentials[0].placeholder;
    assert!(content.contains(placeholder), "{content}");
    let alias = ("GH_TOKEN".to_owned(), placeholder.clone());
    assert!(tools.aliases.contains(&alias));
}

#[test]
fn a_bundle_that_is_not_whole_brings_nothing() {
    let mut some = held(&["github"]);
    some.credentials.clear();
    assert!(Tools::new(&some, "/f", &[]).files.is_empty());
    let mut some = held(&["github"]);
    some.hosts.remove(0);
    assert!(Tools::new(&some, "/f", &[]).files.is_empty());
    let tools = Tools::new(&Held::default(), "/f", &[]);
    assert!(tools.variables.is_empty(), "{tools:?}");
}

#[test]
fn what_is_kept_is_left_alone_and_nothing_is_set_twice() {
    let tools = Tools::new(&held(&["github"]), "/f", &["GH_CONFIG_DIR".to_owned()]);
    assert!(
        tools.files.is_empty() && tools.variables.is_empty(),
        "{tools:?}"
    );
    let all: Vec<_> = bundles().iter().map(|bundle| &*bundle.name).collect();
    let tools = Tools::new(&held(&all), "/f", &[]);
    assert!(tools.files.len() > 3, "{tools:?}");
    let distinct = |pairs: &[(String, String)]| {
        let mut names: Vec<_> = pairs.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        names.len()
    };
    assert_eq!(distinct(&tools.variables), tools.variables.len());
    assert_eq!(distinct(&tools.files), tools.files.len());
}

/// Whoever writes them asks for no more: a place that leads out of the folder, or over a certificate, is none.
#[test]
fn every_file_stands_below_the_folder_and_over_none_of_ours() {
    for file in bundles().iter().flat_map(|bundle| &bundle.files) {
        let mut parts = file.path.split('/');
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        assert!(parts.all(plain), "{}", file.path);
        let ours = ["ca.pem", "bundle.pem", "trust.p12"];
        assert!(!ours.contains(&&*file.path), "{}", file.path);
    }
}
