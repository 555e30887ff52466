use super::*;

#[test]
fn an_authority_is_doubted_that_came_through_a_network_in_the_clear() {
    for (proxy, is_doubted) in [
        ("http://gateway.example.com:7380", true),
        ("http://10.0.0.7:7380", true),
        ("http://[fd00::7]:7380", true),
        ("https://gateway.example.com:7380", false),
        ("http://127.0.0.1:7380", false),
        ("http://[::1]:7380", false),
        ("http://localhost:7380", false),
    ] {
        let said = doubt(&Proxy::parse(proxy).unwrap());
        assert_eq!(said.is_some(), is_doubted, "{proxy}: {said:?}");
    }
}
