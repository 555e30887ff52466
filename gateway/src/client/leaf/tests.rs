use boring::x509::extension::BasicConstraints;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

/// What control does: a root, and an intermediate for the key in the request, with a subject of its own.
fn signed(request: &[u8], seconds: i64) -> SignedIntermediate {
    let request = X509Req::from_der(request).unwrap();
    assert!(request.verify(&request.public_key().unwrap()).unwrap());
    let root_key = new_key().unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "Tenant root")
        .unwrap();
    let root_name = name.build();
    let build = |subject: &X509Name, key: &PKey<boring::pkey::Public>, seconds: i64| {
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        let serial = BigNum::from_u32(7).unwrap();
        builder
            .set_serial_number(&Asn1Integer::from_bn(&serial).unwrap())
            .unwrap();
        builder.set_issuer_name(&root_name).unwrap();
        builder.set_subject_name(subject).unwrap();
        builder
            .set_not_before(&Asn1Time::from_unix(clock::seconds() - 60).unwrap())
            .unwrap();
        builder
            .set_not_after(&Asn1Time::from_unix(clock::seconds() + seconds).unwrap())
            .unwrap();
        builder.set_pubkey(key).unwrap();
        let ca = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(&ca).unwrap();
        let id = SubjectKeyIdentifier::new()
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(&id).unwrap();
        builder.sign(&root_key, MessageDigest::sha256()).unwrap();
        builder.build()
    };
    let root_public = PKey::public_key_from_der(&root_key.public_key_to_der().unwrap()).unwrap();
    let root = build(&root_name, &root_public, 1_000_000);
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::ORGANIZATIONNAME, "Tenant ü")
        .unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, "gwy_1 intermediate")
        .unwrap();
    let intermediate = build(&name.build(), &request.public_key().unwrap(), seconds);
    SignedIntermediate {
        certificate: intermediate.to_der().unwrap(),
        root: root.to_der().unwrap(),
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
    assert!(Issuer::new(&signed, new_key().unwrap(), 0).is_err());
}
