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
