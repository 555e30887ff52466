use super::*;

fn named(text: &str) -> Named {
    Named::parse(text).unwrap()
}

#[test]
fn the_token_is_found_as_user_and_as_password() {
    for text in [
        "http://x:sortie_ses_a.b.c@127.0.0.1:7380",
        "http://sortie_ses_a.b.c:vault@127.0.0.1:7380",
        "127.0.0.1:7380",
    ] {
        let named = named(text);
        assert_eq!(named.proxy.to_string(), "http://127.0.0.1:7380");
        let token = named.token().map(|token| token.expose().to_vec());
        assert_eq!(
            token.as_deref(),
            text.contains('@').then_some(b"sortie_ses_a.b.c".as_slice())
        );
    }
    assert!(Named::parse("not a url").is_none());
    assert!(Named::parse("socks5://h:1").is_none());
}

#[test]
fn credentials_are_decoded_and_sent_as_basic() {
    let named = named("http://x:a%40b%25@h:1");
    assert_eq!(
        named.authorization().unwrap().expose(),
        format!("Basic {}", STANDARD.encode("x:a@b%")).as_bytes()
    );
    assert!(
        Named::parse("http://h:1")
            .unwrap()
            .authorization()
            .is_none()
    );
}

#[test]
fn proxies_are_the_same_by_place_and_password() {
    for (a, b, same) in [
        ("http://x:p@h:80", "http://y:p@h/", true),
        ("http://x:p@h:80", "http://x:q@h:80", false),
        ("http://t@h:80", "http://t:@h:80", true),
        ("http://h:80", "http://h:81", false),
        ("http://h:80", "http://x:p@h:80", false),
    ] {
        assert_eq!(named(a).is_same(&named(b)), same, "{a} {b}");
    }
}

#[test]
fn every_variable_of_the_table_has_a_use() {
    let uses = uses();
    assert!(uses.len() > 20);
    for (name, used) in [
        ("https_proxy", Use::Proxy),
        ("NO_PROXY", Use::NoProxy),
        ("SSL_CERT_FILE", Use::Bundle),
        ("NODE_EXTRA_CA_CERTS", Use::Authority),
        ("NODE_USE_ENV_PROXY", Use::Switch),
        ("JAVA_TOOL_OPTIONS", Use::Java),
    ] {
        assert!(uses.contains(&(name, used)), "{name}: {uses:?}");
    }
}

#[test]
fn times_are_read_from_a_token() {
    let payload = URL_SAFE_NO_PAD.encode(r#"{"iat":10,"exp":20,"jti":"x"}"#);
    let token = Secret::new(format!("{PREFIX}e30.{payload}.sig").into_bytes());
    assert_eq!(Times::read(&token), Some(Times { iat: 10, exp: 20 }));
    for odd in ["", "sortie_ses_", "sortie_ses_a.b.c", "x.e30.y"] {
        assert_eq!(Times::read(&Secret::new(odd.as_bytes().to_vec())), None);
    }
}
