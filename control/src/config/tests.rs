use super::*;

fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, Invalid> {
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    layers::merge(text, environment).and_then(layers::check)
}

#[test]
fn everything_has_a_default() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.api.listen.port(), 7300);
    assert_eq!(config.feed.advertise, "127.0.0.1:7301");
    assert!(config.database.is_none());
}

#[test]
fn the_environment_wins_over_the_file() {
    let config = load(
        "[api]\nlisten = \"127.0.0.1:1\"\n[feed]\nqueue = 2",
        &[
            ("SORTIE_CONTROL__API__LISTEN", "127.0.0.1:2"),
            ("SORTIE_CONTROL__FEED__QUEUE", "9"),
            ("OTHER", "x"),
        ],
    )
    .unwrap();
    assert_eq!(config.api.listen.port(), 2);
    assert_eq!(config.feed.queue, 9);
}

#[test]
fn unknown_settings_are_refused() {
    assert!(load("[api]\nlissten = \"x\"", &[]).is_err());
    assert!(load("", &[("SORTIE_CONTROL__API__LISSTEN", "x")]).is_err());
    assert!(
        load(
            "data_dir = \"x\"",
            &[("SORTIE_CONTROL__DATA_DIR__MORE", "x")]
        )
        .is_err()
    );
}

#[test]
fn the_gateways_address_is_a_proxys_url() {
    let config = load("proxy_url = \"http://gateway.internal:7380/\"", &[]).unwrap();
    assert!(
        config
            .to_text()
            .contains("proxy_url = \"http://gateway.internal:7380\"")
    );
    let Err(Invalid(problems)) = load("proxy_url = \"http://u:canary-42@gateway:7380\"", &[])
    else {
        panic!("it was accepted");
    };
    assert!(problems[0].starts_with("proxy_url: ") && !problems[0].contains("canary-42"));
}

#[test]
fn all_problems_are_told_at_once() {
    let Err(Invalid(problems)) = load(
        "database_connections = 1\ndatabase_url = \"postgresql://db/x?sslmode=prefer\"\n[api]\nlisten = \"x\"\n[feed]\nadvertise = \"y\"",
        &[],
    ) else {
        panic!("it was accepted");
    };
    assert_eq!(problems.len(), 4, "{problems:?}");
}

#[test]
fn the_databases_address_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, "postgresql://u:canary-42@db/x\n").unwrap();
    let text = format!("database_url_file = {:?}", file.display().to_string());
    let config = load(&text, &[]).unwrap();
    assert!(config.database.is_some());
    assert!(!config.to_text().contains("canary-42"));
    let both = format!("{text}\ndatabase_url = \"postgresql://u@db/x\"");
    assert!(load(&both, &[]).is_err());
    let Err(Invalid(problems)) = load("database_url_file = \"/nowhere/at/all\"", &[]) else {
        panic!("it was accepted");
    };
    assert!(problems[0].contains("/nowhere/at/all"), "{problems:?}");
}

#[test]
fn the_effective_configuration_shows_no_password() {
    let config = load("database_url = \"postgresql://u:canary-41@db/x\"", &[]).unwrap();
    assert!(!config.to_text().contains("canary-41"));
    assert!(!format!("{config:?}").contains("canary-41"));
    assert!(config.to_text().contains("kept_changes = 200000"));
}
