use std::task::Waker;

use super::*;

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";

struct Agent {
    farewell: Farewell,
    closing: watch::Sender<bool>,
}

impl Agent {
    fn new() -> Self {
        let closing = watch::Sender::new(false);
        Self {
            farewell: Farewell::when(closing.subscribe()),
            closing,
        }
    }

    fn sends(mut self, parts: &[&[u8]]) -> Self {
        for part in parts {
            self.farewell.follow(&Poll::Ready(Ok(part.len())), part);
        }
        self
    }

    fn due(&mut self) -> Option<&'static [u8]> {
        let mut cx = Context::from_waker(Waker::noop());
        self.farewell.poll_due(&mut cx)
    }

    fn due_at_the_end(mut self) -> Option<&'static [u8]> {
        assert_eq!(self.due(), None);
        self.closing.send_replace(true);
        self.due()
    }
}

#[test]
fn it_is_said_between_two_frames_and_nowhere_else() {
    let text = b"\x81\x05hello";
    let large = [&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat();
    let huge = [&b"\x82\x7f\0\0\0\0\0\x01\0\0"[..], &[7; 65_536]].concat();
    let all = [SWITCH, text, &large, b"\x89\x00", &huge].concat();
    let ends = [
        SWITCH.len(),
        SWITCH.len() + text.len(),
        SWITCH.len() + text.len() + large.len(),
        SWITCH.len() + text.len() + large.len() + 2,
        all.len(),
    ];
    for cut in (0..1_000).chain([all.len() - 1, all.len()]) {
        let (before, _) = all.split_at(cut);
        let due = Agent::new().sends(&[before]).due_at_the_end();
        assert_eq!(due.is_some(), ends.contains(&cut), "behind {cut} bytes");
    }
    let bytes: Vec<_> = all.chunks(1).collect();
    let due = Agent::new().sends(&bytes).due_at_the_end();
    assert_eq!(due, Some(&[0x88, 2, 0x03, 0xe9][..]));
}

#[test]
fn an_answer_that_does_not_switch_and_a_closed_websocket_have_no_farewell() {
    let refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\n\x81\x00";
    assert_eq!(Agent::new().sends(&[refused]).due_at_the_end(), None);
    let closed = Agent::new().sends(&[SWITCH, b"\x88\x02\x03\xe8"]);
    assert_eq!(closed.due_at_the_end(), None);
    let interim: [&[u8]; 2] = [b"HTTP/1.1 103 Early Hints\r\n\r\n", SWITCH];
    let interim = Agent::new().sends(&interim);
    assert!(interim.due_at_the_end().is_some());
}

#[test]
fn it_waits_for_a_write_that_is_pending_and_is_said_once() {
    let mut agent = Agent::new().sends(&[SWITCH]);
    agent.closing.send_replace(true);
    agent.farewell.follow(&Poll::Pending, b"\x81\x00");
    assert_eq!(agent.due(), None);
    agent.farewell.follow(&Poll::Ready(Ok(2)), b"\x81\x00");
    assert_eq!(agent.due().unwrap().len(), 4);
    agent.farewell.said(3);
    assert!(!agent.farewell.is_over());
    assert_eq!(agent.due(), Some(&[0xe9][..]));
    agent.farewell.said(1);
    assert!(agent.farewell.is_over());
    assert_eq!(agent.due(), None);
}
