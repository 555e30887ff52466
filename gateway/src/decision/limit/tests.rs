use super::*;

fn limits(session: u32, vault: u32) -> Limits {
    Limits::new(Config {
        session_requests_max: NonZeroU32::new(session).unwrap(),
        vault_requests_max: NonZeroU32::new(vault).unwrap(),
    })
}

fn code(result: Result<Slot>) -> Option<Code> {
    result.err().map(|error| error.code())
}

#[test]
fn a_session_and_a_vault_have_their_own_bounds() {
    let limits = limits(2, 3);
    let (vault, first, second) = (
        VaultId::generate(),
        SessionId::generate(),
        SessionId::generate(),
    );
    let one = limits.admit(first, vault).unwrap();
    let two = limits.admit(first, vault).unwrap();
    assert_eq!(code(limits.admit(first, vault)), Some(Code::TooMany));
    let three = limits.admit(second, vault).unwrap();
    assert_eq!(code(limits.admit(second, vault)), Some(Code::TooMany));
    let elsewhere = limits.admit(second, VaultId::generate()).unwrap();
    drop(one);
    let again = limits.admit(first, vault).unwrap();
    drop((two, three, elsewhere, again));
    assert_eq!(limits.open.len(), 0);
}

#[test]
fn a_place_that_was_refused_for_the_vault_leaves_nothing_behind() {
    let limits = limits(1, 1);
    let vault = VaultId::generate();
    let held = limits.admit(SessionId::generate(), vault).unwrap();
    let session = SessionId::generate();
    assert_eq!(code(limits.admit(session, vault)), Some(Code::TooMany));
    drop(held);
    assert_eq!(limits.open.len(), 0);
    assert_eq!(code(limits.admit(session, vault)), None);
}

#[test]
fn counts_stay_exact_under_contention() {
    let limits = limits(3, 1_000);
    let (session, vault) = (SessionId::generate(), VaultId::generate());
    let open = AtomicU32::new(0);
    let turn = || {
        if let Ok(slot) = limits.admit(session, vault) {
            assert!(open.fetch_add(1, Ordering::SeqCst) < 3);
            open.fetch_sub(1, Ordering::SeqCst);
            drop(slot);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..2_000).for_each(|_| turn()));
        }
    });
    assert_eq!(limits.open.len(), 0);
}
