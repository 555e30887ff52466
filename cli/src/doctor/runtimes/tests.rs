use super::super::finding::State;
use super::*;

fn request(url: &Url) -> Request<'_> {
    Request {
        url,
        is_own: true,
        time: Duration::from_millis(500),
        bundle: Some("SSL_CERT_FILE"),
    }
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_those_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::asked_for_its_version("sh", "");
    let script = "sleep 600 & echo $!; wait".to_owned();
    let arguments = ["-c".to_owned(), script];
    let ended = process::run(&runtime, &arguments, folder.path(), Duration::from_secs(2)).await;
    let ended = ended.unwrap();
    assert!(ended.is_late);
    let child: i32 = ended.stdout.trim().parse().unwrap();
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    // A process that was killed stays in the list until somebody has waited for it.
    let is_gone = || {
        let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        status.is_empty() || status.contains(") Z ")
    };
    while cfg!(target_os = "linux") && !is_gone() {
        assert!(tokio::time::Instant::now() < end, "{child} still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn an_answer_of_somebody_else_does_not_count() {
    let url = Url::parse("https://sortie.internal/").unwrap();
    let runtime = &table::RUNTIMES[0];
    let ended = Ended::default();
    let outcome = |is_marked| Outcome::Reached {
        status: 200,
        is_marked,
    };
    let own = request(&url);
    assert_eq!(
        judge(runtime, outcome(false), &ended, &own).state,
        State::Fault
    );
    assert_eq!(judge(runtime, outcome(true), &ended, &own).state, State::Ok);
    let any = Request {
        is_own: false,
        ..request(&url)
    };
    assert_eq!(
        judge(runtime, outcome(false), &ended, &any).state,
        State::Ok
    );
}

#[test]
fn every_failure_has_a_fix_and_no_token() {
    let url = Url::parse("https://sortie.internal/").unwrap();
    let ended = Ended {
        stderr: "bad proxy http://x:sortie_ses_a.b.c@h:1".to_owned(),
        ..Ended::default()
    };
    for runtime in &table::RUNTIMES {
        for why in [
            Why::Late,
            Why::Trust,
            Why::Credentials,
            Why::Past,
            Why::Connect,
            Why::Other,
        ] {
            let finding = failed(runtime, why, &ended, &request(&url));
            assert!(!finding.fix.is_empty(), "{finding:?}");
            assert!(!finding.seen.contains("sortie_ses_a"), "{finding:?}");
        }
    }
}

#[test]
fn a_php_that_no_variable_reaches_is_told_how_to_trust() {
    let url = Url::parse("https://sortie.internal/").unwrap();
    let php = table::RUNTIMES.iter().find(|it| it.name == "php").unwrap();
    let finding = failed(php, Why::Trust, &Ended::default(), &request(&url));
    assert_eq!(finding.state, State::Warning);
    assert!(
        finding.fix.contains("curl.cainfo=\"$SSL_CERT_FILE\""),
        "{finding:?}"
    );
}
