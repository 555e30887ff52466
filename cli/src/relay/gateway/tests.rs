use super::*;

#[test]
fn a_gateway_is_a_host_and_a_port() {
    let none = || Err(Error::Usage("asked for trust".to_owned()));
    let made = |url: &str| Gateway::new(url, none, Crew::default());
    let gateway = made("http://gateway.test:7380").unwrap();
    assert_eq!(
        (gateway.host.as_str(), gateway.port),
        ("gateway.test", 7380)
    );
    assert_eq!(made("http://[::1]:1/").unwrap().host, "::1");
    for wrong in [
        "gateway:1",
        "http://g/path",
        "http://u:p@g:1",
        "ftp://g",
        "",
    ] {
        assert!(made(wrong).is_err(), "{wrong}");
    }
    let error = made("https://gateway.test").unwrap_err();
    assert_eq!(error.to_string(), "asked for trust");
}
