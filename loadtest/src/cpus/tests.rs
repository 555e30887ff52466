use super::*;

#[test]
fn processors_are_numbers_and_ranges() {
    let shown = |text: &str| text.parse::<Cpus>().map(|cpus| cpus.to_string());
    assert_eq!(shown("1").unwrap(), "1");
    assert_eq!(shown("0,2-4").unwrap(), "0,2,3,4");
    for wrong in ["", "a", "1-", "3-2"] {
        assert!(shown(wrong).is_err(), "{wrong}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_started_keeps_to_its_processors_and_the_starter_to_its_own() {
    let before = Cpus::of_this_thread().unwrap();
    let one = Cpus(before.0.iter().copied().take(1).collect());
    let apart = Apart {
        gateway_cpus: Some(one.clone()),
        others_cpus: None,
    };
    let seen = apart.start_gateway(Cpus::of_this_thread).unwrap();
    assert_eq!(seen, one);
    assert_eq!(Cpus::of_this_thread().unwrap(), before);
}
