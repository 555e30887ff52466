use super::*;

const LEAST: &str = r#"
    name = "least"
    about = "The least there is."
    [[phase]]
    name = "all"
    seconds = 10
    [[phase.group]]
    name = "agents"
    agents = 5
    rate = 20
"#;

fn check(more: &str, wanted: &str) {
    let refused = Scenario::parse(&format!("{LEAST}{more}")).unwrap_err();
    let said = format!("{refused:#}");
    assert!(said.contains(wanted), "{said}");
}

#[test]
fn what_is_left_out_has_its_default() {
    let scenario = Scenario::parse(LEAST).unwrap();
    let group = &scenario.phases[0].groups[0];
    assert_eq!(group.kind, Kind::Request);
    assert_eq!(group.path, "/bytes/1024");
    assert_eq!(scenario.labels(), ["all/agents"]);
    assert_eq!(scenario.cluster.gateways, 1);
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    check("rat = 3", "unknown field");
    check("share_of_most = 0.5", "all/agents");
    check("tenant = 1", "there is no tenant 1");
    check("hosts = 3", "knows 0 hosts");
    check("streams = 4", "http2");
    check("kind = \"websocket\"\nprotocol = \"http2\"", "over http1");
    check(
        "[[phase.group]]\nname = \"agents\"\nagents = 1\nrate = 1",
        "twice",
    );
    check(
        "[[bar]]\nof = \"all/others\"\nfigure = \"p50_ms\"\nat_most = 1",
        "no group",
    );
    check(
        "[[bar]]\nof = \"all/agents\"\nfigure = \"p50_ms\"",
        "demands nothing",
    );
    check(
        "[[phase.event]]\nat = 10\nwhat = \"stop_control\"",
        "when it is over",
    );
}

#[test]
fn a_figure_with_a_title_may_only_inform() {
    let shown = "[[bar]]\nof = \"all/agents\"\nfigure = \"sent_again\"\ntitle = \"sent again\"";
    let scenario = Scenario::parse(&format!("{LEAST}{shown}")).unwrap();
    assert!(scenario.bars[0].at_most.is_none());
}

#[test]
fn a_quick_look_is_shorter_in_all_its_times() {
    let mut scenario = Scenario::parse(&format!(
        "{LEAST}idle_seconds = 4\n[[phase.event]]\nat = 6\nwhat = \"stop_control\""
    ))
    .unwrap();
    scenario.shorten(0.5);
    let phase = &scenario.phases[0];
    let times = [
        phase.seconds,
        phase.groups[0].idle_seconds,
        phase.events[0].at,
    ];
    assert_eq!(
        times.map(|time| format!("{time:.1}")),
        ["5.0", "2.0", "3.0"]
    );
}

#[test]
fn every_scenario_of_the_repository_is_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let scenario = Scenario::read(&file).unwrap();
        assert_eq!(file.file_stem().unwrap().to_str(), Some(&*scenario.name));
        assert!(!scenario.bars.is_empty(), "{} asks nothing", scenario.name);
        seen += 1;
    }
    assert!(seen >= 13, "{seen}");
}
