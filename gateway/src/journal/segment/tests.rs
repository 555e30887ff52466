use super::*;

fn header() -> Header {
    Header {
        boot: BootId::generate(),
        lane: 3,
        first: 11,
    }
}

fn framed(payloads: &[&[u8]]) -> Vec<u8> {
    let mut buffer = Vec::new();
    for payload in payloads {
        frame(&mut buffer, |to| to.extend_from_slice(payload));
    }
    buffer
}

fn written(folder: &Path, payloads: &[&[u8]]) -> PathBuf {
    let mut segment = Segment::create(folder, header(), 4096).unwrap();
    for payload in payloads {
        segment.append(&framed(&[payload]), 1).unwrap();
    }
    segment.span().path
}

fn read_all(path: &Path) -> (Vec<Vec<u8>>, Read) {
    let mut reader = Reader::open(path).unwrap().unwrap();
    let mut records = Vec::new();
    loop {
        match reader.read(None).unwrap() {
            Read::Record(payload) => records.push(payload),
            end @ (Read::Damaged(_) | Read::End | Read::Torn) => return (records, end),
        }
    }
}

#[test]
fn records_come_back_in_order_with_their_sequences() {
    let folder = tempfile::tempdir().unwrap();
    let mut segment = Segment::create(folder.path(), header(), 4096).unwrap();
    segment.append(&framed(&[b"one", b"two"]), 2).unwrap();
    segment.append(&framed(&[b"three"]), 1).unwrap();
    assert_eq!(segment.next(), 14);
    let path = segment.span().path;
    let mut reader = Reader::open(&path).unwrap().unwrap();
    assert_eq!((reader.header().lane, reader.next()), (3, 11));
    assert_eq!(reader.read(None).unwrap(), Read::Record(b"one".to_vec()));
    assert_eq!(reader.next(), 12);
    let (records, end) = read_all(&path);
    assert_eq!(records, [b"one".as_slice(), b"two", b"three"]);
    assert_eq!(end, Read::End);
}

#[test]
fn a_reader_stops_where_the_writer_says_that_records_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut segment = Segment::create(folder.path(), header(), 4096).unwrap();
    segment.append(&framed(&[b"one"]), 1).unwrap();
    let span = segment.span();
    segment.append(&framed(&[b"two"]), 1).unwrap();
    let mut reader = Reader::open(&span.path).unwrap().unwrap();
    assert!(matches!(reader.read(span.end()).unwrap(), Read::Record(_)));
    assert_eq!(reader.read(span.end()).unwrap(), Read::End);
    assert!(matches!(
        reader.read(segment.span().end()).unwrap(),
        Read::Record(_)
    ));
}

#[test]
fn every_torn_tail_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[b"first", b"second"]);
    let whole = std::fs::read(&path).unwrap();
    let second = HEADER_LEN + FRAME_LEN + 5;
    for cut in second..second + FRAME_LEN + 6 {
        let mut torn = whole.clone();
        torn[cut..].fill(0);
        std::fs::write(&path, &torn).unwrap();
        let (records, end) = read_all(&path);
        assert_eq!(records, [b"first".as_slice()], "cut at {cut}");
        assert!(matches!(end, Read::End | Read::Torn), "cut at {cut}");
        // The same with the file itself cut short.
        std::fs::write(&path, &whole[..cut]).unwrap();
        assert_eq!(
            read_all(&path).0,
            [b"first".as_slice()],
            "cut short at {cut}"
        );
    }
}

#[test]
fn a_flipped_bit_is_recognised_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[b"first", b"second"]);
    let whole = std::fs::read(&path).unwrap();
    let used = HEADER_LEN + 2 * FRAME_LEN + 11;
    for at in (0..44).chain(HEADER_LEN..used) {
        let mut altered = whole.clone();
        altered[at] ^= 0x10;
        std::fs::write(&path, &altered).unwrap();
        let unharmed = Reader::open(&path).unwrap().is_some()
            && read_all(&path).0 == [b"first".as_slice(), b"second"];
        assert!(!unharmed, "flipped at {at}");
    }
}

#[test]
fn a_record_that_was_altered_does_not_hide_those_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[b"first", b"second", b"third"]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[HEADER_LEN + FRAME_LEN + 5 + FRAME_LEN] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut reader = Reader::open(&path).unwrap().unwrap();
    assert_eq!(reader.read(None).unwrap(), Read::Record(b"first".to_vec()));
    assert_eq!(
        reader.read(None).unwrap(),
        Read::Damaged(b"\x72econd".to_vec())
    );
    assert_eq!(reader.read(None).unwrap(), Read::Record(b"third".to_vec()));
    assert_eq!(reader.read(None).unwrap(), Read::End);
}

#[test]
fn records_behind_an_end_that_was_forged_are_not_passed_over_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &[b"first", b"second", b"third"]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[HEADER_LEN + FRAME_LEN + 5..][..FRAME_LEN].fill(0);
    std::fs::write(&path, bytes).unwrap();
    let (records, end) = read_all(&path);
    assert_eq!(
        (records, end),
        (vec![b"first".to_vec()], Read::Torn),
        "the length of the second says that nothing follows"
    );
}

#[test]
fn a_file_that_was_being_made_is_no_segment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0000-00000000000000000001.seg");
    for content in [vec![], vec![0; 10], vec![0; 4096]] {
        std::fs::write(&path, content).unwrap();
        assert!(Reader::open(&path).unwrap().is_none());
    }
}

#[test]
fn the_list_is_by_lane_and_sequence() {
    let folder = tempfile::tempdir().unwrap();
    let boot = BootId::generate();
    for (lane, first) in [(1, 1), (0, 100), (0, 20)] {
        Segment::create(folder.path(), Header { boot, lane, first }, 4096).unwrap();
    }
    std::fs::write(folder.path().join("note.txt"), "x").unwrap();
    let found = list(folder.path()).unwrap();
    let keys: Vec<_> = found
        .iter()
        .map(|(lane, span)| (*lane, span.first))
        .collect();
    assert_eq!(keys, [(0, 20), (0, 100), (1, 1)]);
}

proptest::proptest! {
    #[test]
    fn reading_any_bytes_ends(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path(), &[b"first"]);
        let mut content = std::fs::read(&path).unwrap();
        content.truncate(HEADER_LEN);
        content.extend(bytes);
        std::fs::write(&path, content).unwrap();
        read_all(&path);
    }
}
