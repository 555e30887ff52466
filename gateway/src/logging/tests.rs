use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn captured(act: impl FnOnce()) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || writer.clone())
        .with_filter(Careful(EnvFilter::new("trace")));
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::with_default(subscriber, act);
    let bytes = captured.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn words_of_the_data_path_s_libraries_never_pass_at_any_filter() {
    let text = captured(|| {
        tracing::error!(target: "pingora_proxy", "canary-1");
        tracing::debug!(target: "pingora_core::protocols", "canary-2");
        tracing::trace!(target: "h2::codec", "canary-3");
        tracing::debug!(target: "hyper::proto", "canary-4");
        for level in [log::Level::Error, log::Level::Warn, log::Level::Trace] {
            let mut record = log::Record::builder();
            let record = record.level(level).target("pingora_core");
            log::Log::log(&Withheld, &record.args(format_args!("canary-5")).build());
        }
    });
    assert!(!text.contains("canary"), "{text}");
    assert!(text.contains("its words are withheld"), "{text}");
}

#[test]
fn our_own_lines_pass() {
    let text = captured(|| tracing::trace!(target: "sortie_gateway::client", "hello"));
    assert!(text.contains("hello"));
}
