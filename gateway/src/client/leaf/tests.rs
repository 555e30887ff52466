use boring::x509::X509Req;
use rcgen::{BasicConstraints, SubjectPublicKeyInfo};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

/// What control does: a root, and an intermediate for the key in the request, with a subject of its own.
fn signed(request: &[u8], seconds: i64) -> SignedIntermediate {
    let request = X509Req::from_der(request).unwrap();
    let public = request.public_key().unwrap();
    assert!(request.verify(&public).unwrap());
    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Tenant ü");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.serial_number = Some(SerialNumber::from(7_u64));
        params
    };
    let root_key = P256Key::generate().unwrap();
    let root = authority("Tenant root").self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(root.der(), root_key).unwrap();
    let spki = public.public_key_to_der().unwrap();
    let public = SubjectPublicKeyInfo::from_der(&spki).unwrap();
    let mut params = authority("gwy_1 intermediate");
    params.not_after = time(clock::seconds() + seconds).unwrap();
    let intermediate = params.signed_by(&public, &issuer).unwrap();
    SignedIntermediate {
        certificate: intermediate.der().to_vec(),
        root: root.der().to_vec(),
    }
}

fn issuer(seconds: i64) -> (Issuer, SignedIntermediate) {
    let (key, request) = key_and_request().unwrap();
    let signed = signed(&request, seconds);
    (Issuer::new(&signed, key, 0).unwrap(), signed)
}

#[test]
fn a_leaf_is_for_one_host_and_for_servers_only_and_chains_to_its_intermediate() {
    let (issuer, signed) = issuer(72 * 3600);
    let host = Host::parse("api.example.com").unwrap();
    let now = clock::seconds();
    let der = issuer
        .mint(&host, now)
        .unwrap()
        .certificate
        .to_der()
        .unwrap();
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let (_, parent) = X509Certificate::from_der(&signed.certificate).unwrap();
    assert_eq!(leaf.issuer().as_raw(), parent.subject().as_raw());
    assert!(!leaf.is_ca());
    assert!(leaf.validity().not_after.timestamp() <= now + LEAF_SECONDS);
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(
        names.value.general_names,
        [GeneralName::DNSName("api.example.com")]
    );
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert!(usage.digital_signature() && !usage.key_cert_sign());
    let key_id = |certificate: &X509Certificate<'_>| {
        let mut found = certificate.extensions().iter();
        found.find_map(|extension| {
            if let ParsedExtension::SubjectKeyIdentifier(id) = extension.parsed_extension() {
                return Some(id.0.to_vec());
            }
            None
        })
    };
    let authority = leaf.extensions().iter().find_map(|extension| {
        if let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() {
            return id.key_identifier.as_ref().map(|id| id.0.to_vec());
        }
        None
    });
    assert!(authority.is_some());
    assert_eq!(authority, key_id(&parent));
    let intermediate = X509::from_der(&signed.certificate).unwrap();
    let minted = X509::from_der(&der).unwrap();
    assert!(minted.verify(&intermediate.public_key().unwrap()).unwrap());
}

#[test]
fn a_leaf_never_outlives_its_intermediate() {
    let (issuer, signed) = issuer(3600);
    let now = clock::seconds();
    let leaf = issuer.mint(&Host::parse("10.1.2.3").unwrap(), now).unwrap();
    let der = leaf.certificate.to_der().unwrap();
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let (_, parent) = X509Certificate::from_der(&signed.certificate).unwrap();
    assert_eq!(leaf.validity().not_after, parent.validity().not_after);
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert_eq!(
        names.value.general_names,
        [GeneralName::IPAddress(&[10, 1, 2, 3])]
    );
    assert!(
        issuer
            .mint(&Host::parse("a.test").unwrap(), now + 3600)
            .is_err()
    );
}

#[test]
fn two_leaves_have_two_serial_numbers_and_long_names_fit() {
    let (issuer, _) = issuer(72 * 3600);
    let long = format!("{}.{}.test", "a".repeat(60), "b".repeat(60));
    let now = clock::seconds();
    let one = issuer.mint(&Host::parse(&long).unwrap(), now).unwrap();
    let two = issuer.mint(&Host::parse("b.test").unwrap(), now).unwrap();
    let serial = |leaf: &Leaf| leaf.certificate.serial_number().to_bn().unwrap().to_vec();
    assert_ne!(serial(&one), serial(&two));
}

#[test]
fn an_intermediate_for_another_key_is_refused() {
    let (_, request) = key_and_request().unwrap();
    let signed = signed(&request, 3600);
    assert!(Issuer::new(&signed, P256Key::generate().unwrap(), 0).is_err());
}
