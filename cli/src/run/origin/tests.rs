use super::*;

#[test]
fn what_a_gateway_sent_is_doubted_that_came_through_a_network_in_the_clear() {
    for (proxy, is_doubted) in [
        ("http://gateway.example.com:7380", true),
        ("http://10.0.0.7:7380", true),
        ("http://[fd00::7]:7380", true),
        ("https://gateway.example.com:7380", false),
        ("http://127.0.0.1:7380", false),
        ("http://[::1]:7380", false),
        ("http://localhost:7380", false),
    ] {
        for (is_known, word) in [(false, "--authority"), (true, "placeholders")] {
            let said = doubt(&Proxy::parse(proxy).unwrap(), is_known);
            assert_eq!(said.is_some(), is_doubted, "{proxy}: {said:?}");
            assert!(said.is_none_or(|said| said.contains(word)));
        }
    }
}
