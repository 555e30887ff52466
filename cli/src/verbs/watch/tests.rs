use serde_json::json;

use super::*;

fn ids(entries: &[Value]) -> Vec<String> {
    entries.iter().map(|entry| cell(entry, "/id")).collect()
}

#[test]
fn an_entry_is_shown_once_and_the_oldest_first() {
    let mut news = News::default();
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 40)].map(
        |(id, at)| json!({"id": id, "kind": "admin", "at": format!("2026-01-01T00:00:{at:02}Z")}),
    );
    assert_eq!(ids(&news.take(vec![b.clone(), a.clone()])), ["a", "b"]);
    // Not before what was asked for at first, then not far behind the newest.
    assert_eq!(news.since().unwrap().to_string(), "2026-01-01T00:00:01Z");
    assert_eq!(ids(&news.take(vec![c.clone(), b.clone(), a])), ["c"]);
    assert_eq!(news.since().unwrap().to_string(), "2026-01-01T00:00:10Z");
    assert!(news.take(vec![c, b]).is_empty());
    assert_eq!(news.shown.len(), 2, "what is out of sight is forgotten");
}

#[test]
fn a_request_waits_for_its_end_but_not_for_ever() {
    let mut news = News::default();
    let open = json!({"id": "a", "kind": "request", "status": 0, "code": ""});
    let ended = json!({"id": "b", "kind": "request", "status": 200});
    assert_eq!(ids(&news.take(vec![open.clone(), ended.clone()])), ["b"]);
    assert!(news.take(vec![open.clone(), ended]).is_empty());
    assert_eq!(ids(&news.take(vec![open.clone()])), ["a"]);
    assert!(news.take(vec![open]).is_empty());
}
