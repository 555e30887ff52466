use super::*;

const LANE: u32 = 3;

struct Node {
    boot: BootId,
    records: Vec<Vec<u8>>,
}

impl Node {
    fn wrote(count: u8) -> Self {
        Self {
            boot: BootId::generate(),
            records: (1..=count).map(|number| vec![number]).collect(),
        }
    }

    /// The mark behind a record, as the node's writer has it.
    fn mark(&self, sequence: usize) -> v1::Mark {
        let start = Head::of_lane(self.boot, LANE);
        let head = self.records[..sequence]
            .iter()
            .fold(start, |head, record| head.then(record));
        v1::Mark {
            sequence: sequence as u64,
            head: head.as_bytes().to_vec(),
        }
    }
}

fn fresh() -> Cursor {
    Cursor {
        lane: LANE,
        sequence: 0,
        head: None,
        verified: 0,
        mark: None,
    }
}

/// Takes a batch in; answers the cursor and the alarms.
fn taken(
    node: &Node,
    cursor: Cursor,
    (first, records): (u64, &[Vec<u8>]),
    (mark, after_gap): (usize, bool),
) -> (Cursor, Vec<(Kind, u64, u64)>) {
    let batch = v1::LaneBatch {
        lane: LANE,
        first_sequence: first,
        mark: (mark > 0).then(|| node.mark(mark)),
        after_gap,
        ..v1::LaneBatch::default()
    };
    let mut lane = Lane::begin(node.boot, cursor, &batch, records.len()).unwrap();
    for (sequence, record) in (first..).zip(records) {
        lane.take(sequence, Some(record));
    }
    let (cursor, alarms) = lane.end();
    let alarms = alarms
        .iter()
        .map(|alarm| (alarm.kind, alarm.first, alarm.last));
    (cursor, alarms.collect())
}

#[test]
fn what_the_node_wrote_raises_nothing_however_it_is_cut() {
    let node = Node::wrote(9);
    for cut in 1..9 {
        for mark in 1..=9 {
            let (cursor, alarms) = taken(&node, fresh(), (1, &node.records[..cut]), (mark, false));
            assert_eq!(alarms, []);
            let first = cut as u64 + 1;
            let (cursor, alarms) = taken(&node, cursor, (first, &node.records[cut..]), (9, false));
            assert_eq!((cursor.sequence, cursor.verified, alarms), (9, 9, vec![]));
            assert_eq!(cursor.mark, None);
            // And once more, as after an answer that was lost.
            let (again, alarms) = taken(&node, cursor, (1, &node.records), (9, false));
            assert_eq!((again, alarms), (cursor, vec![]));
        }
    }
}

#[test]
fn an_edit_a_swap_and_a_record_that_was_put_in_are_alarms_and_the_chain_goes_on() {
    let node = Node::wrote(6);
    let mut edited = node.records.clone();
    edited[1] = b"other".to_vec();
    let mut swapped = node.records.clone();
    swapped.swap(0, 2);
    for records in [edited, swapped] {
        let (cursor, alarms) = taken(&node, fresh(), (1, &records[..4]), (3, false));
        assert_eq!(alarms, [(Kind::Edited, 1, 3)]);
        let (cursor, alarms) = taken(&node, cursor, (5, &records[4..]), (6, false));
        assert_eq!((cursor.verified, alarms), (6, vec![]));
    }
}

#[test]
fn a_mark_that_lies_ahead_is_held_against_a_later_batch() {
    let node = Node::wrote(4);
    let (cursor, alarms) = taken(&node, fresh(), (1, &node.records[..1]), (4, false));
    assert_eq!(alarms, []);
    // The node has died: what ships the rest has no marks, and somebody was at the files.
    let forged = [
        b"x".to_vec(),
        node.records[2].clone(),
        node.records[3].clone(),
    ];
    let (cursor, alarms) = taken(&node, cursor, (2, &forged), (0, false));
    assert_eq!(alarms, [(Kind::Edited, 1, 4)]);
    assert_eq!(cursor.sequence, 4);
}

#[test]
fn a_gap_is_refused_unless_the_node_says_that_the_records_are_gone() {
    let node = Node::wrote(6);
    let batch = v1::LaneBatch {
        first_sequence: 3,
        ..v1::LaneBatch::default()
    };
    assert!(Lane::begin(node.boot, fresh(), &batch, 1).is_err());
    let (cursor, alarms) = taken(&node, fresh(), (3, &node.records[2..5]), (5, true));
    assert_eq!(alarms, [(Kind::Gap, 1, 2)]);
    assert_eq!((cursor.sequence, cursor.verified), (5, 5));
    let (_, alarms) = taken(&node, cursor, (6, &[b"forged".to_vec()]), (6, false));
    assert_eq!(alarms, [(Kind::Edited, 6, 6)]);
    // All that was written to a segment can be gone.
    let (cursor, alarms) = taken(&node, fresh(), (7, &[]), (6, true));
    assert_eq!((cursor.sequence, alarms), (6, vec![(Kind::Gap, 1, 6)]));
}

#[test]
fn records_that_the_node_never_wrote_are_a_fork() {
    let node = Node::wrote(3);
    let mut cursor = fresh();
    cursor.sequence = 5;
    let (_, alarms) = taken(&node, cursor, (4, &[]), (3, false));
    assert_eq!(alarms, [(Kind::Fork, 4, 5)]);
}

#[test]
fn a_node_that_knows_no_chain_raises_nothing() {
    let node = Node::wrote(3);
    let batch = v1::LaneBatch {
        lane: LANE,
        first_sequence: 1,
        ..v1::LaneBatch::default()
    };
    let mut lane = Lane::begin(node.boot, fresh(), &batch, 2).unwrap();
    assert!(lane.take(1, None) && lane.take(2, None));
    let (cursor, alarms) = lane.end();
    assert_eq!((cursor.sequence, cursor.head, alarms), (2, None, vec![]));
    // Upgraded control, same boot: its first mark is where the chain begins.
    let (cursor, alarms) = taken(&node, cursor, (3, &node.records[2..]), (3, false));
    assert_eq!((cursor.verified, alarms), (3, vec![]));
}

#[test]
fn of_two_marks_that_lie_ahead_the_furthest_is_held() {
    let node = Node::wrote(6);
    let (cursor, _) = taken(&node, fresh(), (1, &node.records[..1]), (4, false));
    let (cursor, alarms) = taken(&node, cursor, (2, &node.records[1..2]), (6, false));
    assert_eq!(alarms, []);
    // If the node dies now, the records 3 to 6 are lost, and not 3 and 4 alone.
    assert_eq!(cursor.mark.map(|mark| mark.sequence), Some(6));
    let (cursor, _) = taken(&node, cursor, (3, &node.records[2..3]), (5, false));
    assert_eq!(cursor.mark.map(|mark| mark.sequence), Some(6));
    // What was announced is held against what comes all the same.
    let (cursor, alarms) = taken(&node, cursor, (4, &node.records[3..]), (0, false));
    assert_eq!((cursor.verified, alarms), (6, vec![]));
}
