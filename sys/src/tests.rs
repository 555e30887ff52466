use super::*;

#[test]
fn no_core_is_written_and_no_memory_is_read() {
    forbid_dumps().expect("a process may always ask for less");
    let mut core = libc::rlimit {
        rlim_cur: 1,
        rlim_max: 1,
    };
    // SAFETY: getrlimit writes the struct that it is given, which lives until it returns.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut core) };
    assert_eq!((read, core.rlim_cur, core.rlim_max), (0, 0, 0));
    // SAFETY: PR_GET_DUMPABLE takes nothing.
    assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 0);
}
