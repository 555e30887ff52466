use super::*;

fn question(name: &[u8], kind: u8, class: u8) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(name);
    message.extend([0, kind, 0, class]);
    message
}

const NAME: &[u8] = b"\x03api\x04test\x00";

#[test]
fn every_name_has_the_one_address() {
    let asked = question(NAME, 1, 1);
    let told = answer(&asked).unwrap();
    assert_eq!(told[..2], [0x12, 0x34]);
    assert_eq!(told[2], 0b1000_0101, "an answer, with recursion wished");
    assert_eq!(told[3] & 0b1111, 0, "no error");
    assert_eq!(told[7], 1, "one answer");
    assert_eq!(told[12..asked.len()], asked[12..]);
    assert_eq!(told[told.len() - 4..], [198, 18, 0, 1]);
}

#[test]
fn what_is_no_ipv4_address_is_there_and_empty() {
    // AAAA, TXT, HTTPS.
    for kind in [28, 16, 65] {
        let asked = question(NAME, kind, 1);
        let told = answer(&asked).unwrap();
        assert_eq!(told[3] & 0b1111, 0);
        assert_eq!(told[7], 0);
        assert_eq!(told.len(), asked.len());
    }
}

#[test]
fn extensions_of_a_question_are_passed_over() {
    let mut asked = question(NAME, 1, 1);
    asked[11] = 1;
    asked.extend([0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
    let told = answer(&asked).unwrap();
    assert_eq!(told[10..12], [0, 0], "none is answered");
    assert_eq!(told[told.len() - 4..], [198, 18, 0, 1]);
}

#[test]
fn what_is_no_question_is_not_answered() {
    let mut response = question(NAME, 1, 1);
    response[2] |= 0x80;
    let mut update = question(NAME, 1, 1);
    update[2] |= 5 << 3;
    let mut two = question(NAME, 1, 1);
    two[5] = 2;
    let long = [&[63_u8; 64][..]; 5].concat();
    for odd in [
        Vec::new(),
        vec![0; 11],
        response,
        update,
        two,
        question(NAME, 1, 3),
        question(b"\xC0\x0C", 1, 1),
        question(b"\x40", 1, 1),
        question(&long, 1, 1),
        question(NAME, 1, 1)[..20].to_vec(),
    ] {
        assert_eq!(answer(&odd), None, "{odd:?}");
    }
}

#[tokio::test]
async fn the_address_that_was_asked_answers() {
    const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);
    for (any, asked_at) in [
        ("0.0.0.0:0", "127.0.0.53"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("[::]:0", "127.0.0.53"),
        ("[::]:0", "[::1]"),
    ] {
        let Ok(socket) = UdpSocket::bind(any).await else {
            assert!(any.contains("::"), "a machine may have no IPv6");
            continue;
        };
        let port = socket.local_addr().unwrap().port();
        let from = any.replace(
            "[::]",
            if asked_at.contains("::") {
                "[::]"
            } else {
                "0.0.0.0"
            },
        );
        let client = UdpSocket::bind(from).await.unwrap();
        // A connected socket takes answers from there alone, as resolvers do.
        client.connect(format!("{asked_at}:{port}")).await.unwrap();
        client.send(&question(NAME, 1, 1)).await.unwrap();
        let mut told = [0; 512];
        let told = tokio::select! {
            () = serve(socket) => unreachable!("it serves on"),
            got = tokio::time::timeout(DEADLINE, client.recv(&mut told)) => got.map(|length| told[..length.unwrap()].to_vec()),
        };
        let told = told.unwrap_or_else(|_elapsed| panic!("no answer from {asked_at} of {any}"));
        assert_eq!(Some(told), answer(&question(NAME, 1, 1)));
    }
}
