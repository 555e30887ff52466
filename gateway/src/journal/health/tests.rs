use super::*;

fn broken() -> io::Error {
    io::Error::other("input/output error")
}

/// Tries again; answers whether the disk was asked.
fn asked(health: &Health, answer: io::Result<()>) -> bool {
    let mut asked = false;
    health.try_again(|| {
        asked = true;
        answer
    });
    asked
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_failed_is_good_once_it_kept_something() {
    let health = Health::good();
    assert!(!asked(&health, Ok(())), "it has not failed");
    health.failed(&broken());
    assert!(!health.is_good());
    assert!(!asked(&health, Ok(())), "it is too soon");

    tokio::time::advance(PAUSE.0).await;
    assert!(asked(&health, Err(broken())));
    assert!(!health.is_good());
    tokio::time::advance(PAUSE.0).await;
    assert!(!asked(&health, Ok(())), "the second pause is longer");
    tokio::time::advance(PAUSE.0).await;
    assert!(asked(&health, Ok(())));
    assert!(health.is_good());
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_to_a_second_and_are_short_again_once_data_was_kept() {
    let health = Health::good();
    for _ in 0..10 {
        health.failed(&broken());
    }
    tokio::time::advance(PAUSE.1).await;
    assert!(asked(&health, Ok(())));
    health.kept();
    health.failed(&broken());
    tokio::time::advance(PAUSE.0).await;
    assert!(asked(&health, Ok(())));
}
