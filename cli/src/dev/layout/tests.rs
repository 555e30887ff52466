use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn layout(folder: &Path) -> Layout {
    Layout::make(&folder.join("dev"), 20_000).unwrap()
}

#[test]
fn configuration_has_the_ports_and_the_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    layout.write_configs("pem").unwrap();

    let control: toml::Table = fs::read_to_string(layout.control_config())
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(control["api"]["listen"].as_str(), Some("127.0.0.1:20000"));
    assert_eq!(
        control["feed"]["advertise"].as_str(),
        Some("127.0.0.1:20001")
    );
    assert_eq!(control["admin"]["listen"].as_str(), Some("127.0.0.1:20002"));
    let gateway: toml::Table = fs::read_to_string(layout.gateway_config())
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(
        gateway["proxy"]["listen"][0].as_str(),
        Some("127.0.0.1:20080")
    );
    assert_eq!(
        gateway["upstream"]["hosts"][HOST][0].as_str(),
        Some("127.0.0.1")
    );
    assert!(fs::exists(gateway["upstream"]["extra_roots"][0].as_str().unwrap()).unwrap());
}

#[test]
fn the_proxys_certificate_outlives_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    layout.write_configs("pem").unwrap();
    layout.secure_proxy().unwrap();
    let gateway: toml::Table = fs::read_to_string(layout.gateway_config())
        .unwrap()
        .parse()
        .unwrap();
    let tls = &gateway["proxy"]["tls"];
    for (name, label) in [("certificate", "CERTIFICATE"), ("key", "PRIVATE KEY")] {
        let text = fs::read_to_string(tls[name].as_str().unwrap()).unwrap();
        assert!(text.contains(label), "{name}");
    }
    let mode = fs::metadata(layout.proxy_key()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let first = fs::read(layout.proxy_ca()).unwrap();
    layout.secure_proxy().unwrap();
    assert_eq!(fs::read(layout.proxy_ca()).unwrap(), first);
    // Without its authority the pair is of no use.
    fs::remove_file(layout.proxy_ca()).unwrap();
    layout.secure_proxy().unwrap();
    assert_ne!(fs::read(layout.proxy_ca()).unwrap(), first);
}

#[test]
fn everything_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let layout = layout(folder.path());
    layout.write_configs("pem").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(layout.folder()) & 0o066, 0);
    assert_eq!(mode(&layout.folder().join("demo")), 0o700);
    assert_eq!(mode(&layout.control_config()), 0o600);
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::make(folder.path(), port).unwrap();
    let error = layout.check_ports().unwrap_err().to_string();
    assert!(error.contains(&port.to_string()), "{error}");
}

#[test]
fn a_folder_that_is_there_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let layout = Layout::make(folder.path(), 20_000).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(layout.folder()), 0o755);
    assert_eq!(mode(&layout.folder().join("gateway")), 0o700);
}
