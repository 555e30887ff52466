use super::*;

fn mode(url: &str) -> Option<SslMode> {
    match Connector::new(url, None) {
        Ok(connector) => Some(connector.config().get_ssl_mode()),
        Err(InvalidUrl::PlainText) => None,
        Err(other) => panic!("{url}: {other}"),
    }
}

#[test]
fn over_a_network_there_is_tls() {
    for url in [
        "postgresql://sortie@db.internal/sortie",
        "postgresql://sortie@db.internal/sortie?sslmode=require",
        "host=db.internal user=sortie",
        "host=/run/postgresql,db.internal user=sortie",
        "hostaddr=10.0.0.1 user=sortie",
        "postgresql://sortie@127.0.0.1/sortie",
    ] {
        assert_eq!(mode(url), Some(SslMode::Require), "{url}");
    }
    for url in [
        "postgresql://sortie@db.internal/sortie?sslmode=disable",
        "postgresql://sortie@db.internal/sortie?sslmode=prefer",
        "host=localhost,db.internal user=sortie sslmode=disable",
        "host=localhost hostaddr=10.0.0.1 user=sortie sslmode=disable",
        "hostaddr=10.0.0.1 user=sortie sslmode=prefer",
    ] {
        assert_eq!(mode(url), None, "{url}");
    }
}

#[test]
fn this_machine_may_be_spoken_to_in_plain_text() {
    for url in [
        "postgresql://sortie@127.0.0.1/sortie?sslmode=disable",
        "postgresql://sortie@localhost/sortie?sslmode=disable",
        "host=/run/postgresql user=sortie sslmode=disable",
    ] {
        assert_eq!(mode(url), Some(SslMode::Disable), "{url}");
    }
    assert_eq!(
        mode("host=/run/postgresql user=sortie"),
        Some(SslMode::Prefer)
    );
}
