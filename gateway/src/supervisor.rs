//! What the process that supervises this one is told: that it serves, and that it stops (`sd_notify(3)`).
//!
//! Without `NOTIFY_SOCKET` nobody asks, and nothing is sent. That a word is lost is no reason not to serve.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixDatagram;

/// Where a supervisor wants to hear, if one does.
#[derive(Debug, Clone, Default)]
pub struct Supervisor(Option<OsString>);

impl Supervisor {
    /// One that listens there.
    #[must_use]
    pub const fn at(address: Option<OsString>) -> Self {
        Self(address)
    }

    /// This process serves, and is the one to signal from now on: after an upgrade it is not the one that was started.
    pub fn serves(&self) {
        self.tell(&format!("MAINPID={}\nREADY=1", std::process::id()));
    }

    /// This process stops, and no other has taken over.
    pub fn stops(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, text: &str) {
        let Some(address) = &self.0 else { return };
        if let Err(error) = send(address, text.as_bytes()) {
            tracing::warn!(%error, "the supervisor was not told");
        }
    }
}

fn send(address: &OsString, text: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // A supervisor that does not read must not hold this process up.
    socket.set_nonblocking(true)?;
    #[cfg(target_os = "linux")]
    {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::net::SocketAddr;

        if let Some(name) = address.as_bytes().strip_prefix(b"@") {
            let sent = socket.send_to_addr(text, &SocketAddr::from_abstract_name(name)?);
            return sent.map(drop);
        }
    }
    socket.send_to(text, address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_hears_which_process_serves_and_that_it_stops() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let heard = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::at(Some(path.into_os_string()));
        supervisor.serves();
        supervisor.stops();
        let next = || {
            let mut text = [0; 64];
            let count = heard.recv(&mut text).unwrap();
            String::from_utf8_lossy(&text[..count]).into_owned()
        };
        let me = std::process::id();
        assert_eq!(next(), format!("MAINPID={me}\nREADY=1"));
        assert_eq!(next(), "STOPPING=1");
    }

    #[test]
    fn without_a_supervisor_or_with_one_that_is_gone_nothing_happens() {
        Supervisor::default().serves();
        Supervisor::at(Some("/nowhere/notify".into())).stops();
    }
}
