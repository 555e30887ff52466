use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use super::*;

#[test]
fn a_child_ends_with_the_thread_that_spawned_it() {
    let spawn = || {
        let mut command = Command::new("sleep");
        command.arg("1000");
        die_with_parent(&mut command);
        command.spawn().expect("sleep is everywhere")
    };
    let mut child = std::thread::spawn(spawn).join().expect("it does not panic");
    let status = child.wait().expect("it is our child");
    assert_eq!(status.signal(), Some(libc::SIGTERM));
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_takes_signals_that_its_parent_blocks() {
    let spawn = || {
        // SAFETY: a set of this thread alone is written and read.
        unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        }
        let mut command = Command::new("sh");
        command.args(["-c", "kill -TERM $$; sleep 1000"]);
        unblock_signals(&mut command);
        command.status().expect("sh is everywhere")
    };
    let status = std::thread::spawn(spawn).join().expect("it does not panic");
    assert_eq!(status.signal(), Some(libc::SIGTERM));
}
