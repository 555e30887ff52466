use super::*;

#[test]
fn an_environment_comes_through_a_file_as_it_is() {
    let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let all = vec![
        pair("EMPTY", ""),
        pair("EQUALS", "a=b"),
        pair("LINES", "one\ntwo '\"$"),
    ];
    let bytes = write(all.clone().into_iter());
    let back: Vec<_> = read(&bytes)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(back, all);
    assert_eq!(read(b"").count(), 0);
}

#[test]
fn only_the_end_of_the_line_is_its_end() {
    assert!(!goes_on(Ok(0)));
    assert!(goes_on(Ok(1)));
    assert!(goes_on(Err(io::ErrorKind::WouldBlock.into())));
    assert!(!goes_on(Err(io::ErrorKind::ConnectionReset.into())));
}
