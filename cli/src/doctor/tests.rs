use super::*;
use crate::certificate::tests::authority;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::new(
        pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    )
}

#[test]
fn a_command_behind_sortie_is_recognized() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.pem");
    std::fs::write(&file, authority("Sortie ten_1", "Sortie")).unwrap();
    let bundle = file.display().to_string();
    for (pairs, inside) in [
        (&[][..], false),
        (
            &[("https_proxy", "http://x:sortie_ses_a.b.c@h:1")][..],
            true,
        ),
        (&[("HTTPS_PROXY", "http://h:1")][..], false),
        (
            &[("HTTPS_PROXY", "http://h:1"), ("PIP_CERT", bundle.as_str())][..],
            true,
        ),
        (&[("PIP_CERT", bundle.as_str())][..], false),
    ] {
        let environment = environment(pairs);
        let named = environment::proxy(&environment).map(|(_, named)| named);
        assert_eq!(
            looks_inside(&environment, named.as_ref()),
            inside,
            "{pairs:?}"
        );
    }
}

#[test]
fn only_addresses_of_the_web_are_tested() {
    for (text, is_fine) in [
        ("https://a.example/x", true),
        ("http://a.example", true),
        ("ftp://a.example", false),
        ("a.example", false),
    ] {
        assert_eq!(web_url(text).is_ok(), is_fine, "{text}");
    }
    assert_eq!(own_url(OWN_URL).unwrap().host_str(), Some(OWN_HOST));
}
