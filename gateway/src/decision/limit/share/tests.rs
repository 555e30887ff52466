use super::*;

const FREE: Short = Short {
    memory: Memory::Enough,
    lags: false,
};

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A node on which tenants of these weights have so many open; the asking request is counted, as it is in life.
fn node(tenants: &[(u32, u32)]) -> Load {
    let load = Load::default();
    load.opened();
    for &(weight, open) in tenants {
        load.came(number(weight));
        (0..open).for_each(|_| load.opened());
    }
    load
}

#[test]
fn a_node_that_has_room_refuses_nobody() {
    let load = node(&[(1, 99)]);
    assert_eq!(load.judge((99, number(1)), number(100), FREE), None);
}

#[test]
fn weights_say_how_much_of_a_full_node_is_whose() {
    let load = node(&[(1, 50), (3, 50)]);
    let judge = |own, weight| load.judge((own, number(weight)), number(100), FREE);
    assert_eq!(judge(24, 1), None);
    assert_eq!(judge(25, 1), Some(Reason::Requests));
    assert_eq!(judge(74, 3), None);
    assert_eq!(judge(75, 3), Some(Reason::Requests));
}

#[test]
fn short_of_memory_who_uses_more_goes_first_and_out_of_it_all_do() {
    let load = node(&[(1, 90), (1, 10)]);
    let judge = |own, memory| {
        let pressure = Short { memory, ..FREE };
        load.judge((own, number(1)), number(1_000), pressure)
    };
    assert_eq!(judge(90, Memory::Short), Some(Reason::Memory));
    assert_eq!(judge(10, Memory::Short), None);
    assert_eq!(judge(0, Memory::Out), Some(Reason::Memory));
}

#[test]
fn a_lagging_node_refuses_only_where_there_is_somebody_to_be_fair_to() {
    let lags = Short { lags: true, ..FREE };
    let alone = node(&[(2, 90)]);
    assert_eq!(alone.judge((90, number(2)), number(1_000), lags), None);
    let two = node(&[(1, 90), (1, 10)]);
    assert_eq!(
        two.judge((90, number(1)), number(1_000), lags),
        Some(Reason::Lag)
    );
    assert_eq!(two.judge((10, number(1)), number(1_000), lags), None);
}
