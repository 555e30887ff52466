use super::*;

fn check(pieces: &[&str], wanted: bool) {
    let mut search = Search::new(b"secret");
    let seen = pieces
        .iter()
        .fold(false, |seen, piece| search.sees(piece.as_bytes()) | seen);
    assert_eq!(seen, wanted, "{pieces:?}");
}

#[test]
fn a_secret_is_found_wherever_the_borders_of_pieces_are() {
    check(&["a secret"], true);
    for at in 1..6 {
        let (one, two) = "secret".split_at(at);
        check(&["what I know: ", one, two, " it was"], true);
        check(
            &[
                &format!("a long beginning {one}"),
                &format!("{two} and a long end"),
            ],
            true,
        );
    }
    check(&["s", "e", "c", "r", "e", "t"], true);
    check(&["sec", "", "ret"], true);
}

#[test]
fn what_is_not_the_secret_is_not_found() {
    check(&["sec", "-", "ret"], false);
    check(&["secre", "secre"], false);
    check(&[], false);
    assert!(!Search::new(b"").sees(b"anything"));
}
