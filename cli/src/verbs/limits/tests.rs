use super::*;

#[test]
fn limits_are_read_as_people_write_them() {
    let read = |text| match limit(text) {
        Ok(Limit::Of(_, value)) => value,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        read("requests=600/minute:50"),
        json!({"count": 600, "per": "minute", "burst": 50})
    );
    assert_eq!(
        read("bytes=10GiB/d"),
        json!({"count": 10_737_418_240_u64, "per": "day"})
    );
    assert_eq!(read("concurrency=64"), json!(64));
    for wrong in [
        "",
        "requests",
        "requests=600",
        "bytes=1XB/day",
        "speed=9/s",
        "requests=/s",
    ] {
        assert!(limit(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn none_removes_and_nothing_leaves() {
    assert_eq!(field(&[]), None);
    assert_eq!(field(&[Limit::None]), Some(json!({})));
}

#[test]
fn limits_are_shown_in_the_words_in_which_they_are_set() {
    let mut vault = json!({
        "limits": {"requests": {"count": 600, "per": "minute", "burst": 50}, "concurrency": 64},
        "session_limits": {"bytes": {"count": 10, "per": "day", "burst": 10}},
    });
    summarise(&mut vault);
    assert_eq!(
        vault["limited"],
        json!(["concurrency=64", "requests=600/minute:50"])
    );
    assert_eq!(vault["sessions_limited"], json!(["bytes=10/day"]));
    for word in vault["limited"].as_array().unwrap() {
        assert!(limit(word.as_str().unwrap()).is_ok(), "{word}");
    }
}
