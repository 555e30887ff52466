use super::*;

fn token(payload: &str) -> Secret {
    let payload = URL_SAFE_NO_PAD.encode(payload);
    Secret::new(format!("{PREFIX}head.{payload}.signature\n").into_bytes())
}

#[test]
fn claims_are_read_and_the_text_is_trimmed() {
    let text = token(r#"{"jti":"ses_01","iat":100,"exp":160,"new":true}"#);
    let read = Token::read(&text).unwrap();
    assert_eq!(
        (read.session.as_str(), read.life, read.ends),
        ("ses_01", Duration::from_secs(60), 160)
    );
    assert!(read.authorization.is_sensitive());
    assert!(!read.authorization.as_bytes().ends_with(b"\n"));
    assert!(!format!("{read:?}").contains("signature"));
}

#[test]
fn what_is_no_token_is_refused_without_being_shown() {
    let long = format!("{PREFIX}{}", "a".repeat(TOKEN_MAX));
    for text in ["", "sortie_ses_", "sortie_ses_a.b.c", "eyJ.eyJ.x", &long] {
        let error = Token::read(&Secret::new(text.as_bytes().to_vec())).unwrap_err();
        assert!(error.to_string().starts_with("this is no session token"));
    }
    let backwards = token(r#"{"jti":"ses_01","iat":160,"exp":100}"#);
    assert!(Token::read(&backwards).is_err());
}
