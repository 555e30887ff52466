use super::*;

#[test]
fn names_are_read_from_a_list() {
    let text = "\nCertificate Nickname                       Trust Attributes\n\
                                                           SSL,S/MIME,JAR/XPI\n\n\
                sortie-ten_1-0123456789abcdef              C,,  \n\
                Some Other Root                            C,,  \n";
    assert_eq!(listed(text), ["sortie-ten_1-0123456789abcdef"]);
    assert!(listed("").is_empty());
}
