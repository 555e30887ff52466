//! Every FFI call of Sortie, each with its SAFETY note.
//!
//! The other crates forbid `unsafe`; what cannot be said without it stands here, and nothing else does. Without
//! features there is only what a process asks of the kernel about itself; `boring` adds calls into BoringSSL.

pub mod allocation;
#[cfg(target_os = "linux")]
pub mod network;
pub mod process;

use std::io;

/// What jemalloc reads when it starts: give memory back to the system two seconds after it was last used, in a thread
/// of its own.
///
/// Without it a burst of tunnels keeps its memory for ever (measured: 174 MB after 5,000 closed tunnels, 64 with it).
// Elsewhere jemalloc may be built without background threads, and then does not start with this text.
// SAFETY: the name is the one that jemalloc looks up, prefixed as `tikv-jemallocator` builds it; nothing else defines
// it. The value is a pointer to a constant, NUL-terminated string, which is what jemalloc declares.
#[cfg(target_os = "linux")]
#[unsafe(export_name = "_rjem_malloc_conf")]
#[used]
pub static MALLOC_CONF: Option<&'static AllocatorText> = Some(&AllocatorText(
    *b"background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:2000\0",
));

/// The bytes behind [`MALLOC_CONF`]: a reference to it has the layout of a C string's pointer.
#[cfg(target_os = "linux")]
#[derive(Debug)]
#[repr(transparent)]
pub struct AllocatorText([u8; 63]);

/// Keeps the kernel from writing core dumps, and where the system lets it, other processes of the same user from reading
/// this one's memory: on Linux they cannot, on macOS they cannot attach.
///
/// # Errors
/// What the system reports.
pub fn forbid_dumps() -> io::Result<()> {
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: setrlimit reads the struct that it is given, which lives until it returns.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) })?;
    // SAFETY: PR_SET_DUMPABLE takes one integer and touches no memory of ours.
    #[cfg(target_os = "linux")]
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    // SAFETY: PT_DENY_ATTACH looks at none of the other arguments.
    #[cfg(target_os = "macos")]
    check(unsafe { libc::ptrace(libc::PT_DENY_ATTACH, 0, std::ptr::null_mut(), 0) })?;
    Ok(())
}

/// The error behind a call that answers 0 when it succeeded.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has BoringSSL free what only the handshake needs once it is over: about 2 KiB a connection.
#[cfg(feature = "boring")]
pub fn shed_handshake_config(ssl: &mut boring::ssl::SslRef) {
    use foreign_types_shared::ForeignTypeRef;
    // SAFETY: the pointer comes from a live, exclusively borrowed `SslRef`; the call sets one flag on it.
    unsafe { boring_sys::SSL_set_shed_handshake_config(ssl.as_ptr(), 1) };
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
