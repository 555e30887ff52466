//! What a parent may ask for its children: that they do not outlive it, and that they hear signals which it does not.
//!
//! Invariant: between fork and exec only async-signal-safe calls are made, and nothing is allocated.

use std::process::Command;

/// Asks the system to send SIGTERM to the child of `command` when its parent is gone, killed with SIGKILL included.
///
/// Shape: on Linux the parent is the *thread* that spawns, so call `spawn` on a thread that lives as long as the
/// program. On other systems this does nothing: there is no such call.
///
/// Source: `prctl(2)`, `PR_SET_PDEATHSIG`.
#[cfg(target_os = "linux")]
pub fn die_with_parent(command: &mut Command) {
    end_with_parent(command, libc::SIGTERM);
}

/// The same with SIGKILL: for the first process of a PID namespace, to which SIGTERM means nothing, and for one that
/// leaves signals to its children.
#[cfg(target_os = "linux")]
pub fn be_killed_with_parent(command: &mut Command) {
    end_with_parent(command, libc::SIGKILL);
}

#[cfg(target_os = "linux")]
fn end_with_parent(command: &mut Command, signal: libc::c_int) {
    use std::io;
    use std::os::unix::process::CommandExt;

    // SAFETY: getpid takes nothing and cannot fail.
    let parent = unsafe { libc::getpid() };
    let ask = move || {
        // SAFETY: PR_SET_PDEATHSIG reads one integer and touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // The parent may have died before prctl: then nobody would ever send the signal. A parent outside of the
        // child's PID namespace shows as 0.
        // SAFETY: getppid takes nothing and cannot fail.
        if !matches!(unsafe { libc::getppid() }, found if found == parent || found == 0) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: the closure makes only async-signal-safe calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(ask) };
}

/// Lets the child of `command` take every signal: a process inherits the mask of the thread that starts it.
///
/// Source: `execve(2)`, `sigprocmask(2)`.
#[cfg(target_os = "linux")]
pub fn unblock_signals(command: &mut Command) {
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::unix::process::CommandExt;
    use std::ptr;

    let unblock = || {
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: sigemptyset writes a whole set to a place that is large enough for one.
        let made = unsafe { libc::sigemptyset(none.as_mut_ptr()) };
        // SAFETY: the set was written above, and a null pointer asks for no old set.
        let set = unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) };
        if made != 0 || set != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: the closure makes only async-signal-safe calls, allocates nothing and takes no lock.
    unsafe { command.pre_exec(unblock) };
}

/// Does nothing: this system cannot tell a child that its parent is gone.
#[cfg(not(target_os = "linux"))]
pub fn die_with_parent(command: &mut Command) {
    let _ = command;
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
