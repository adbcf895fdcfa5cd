//! How the other side of an encrypted connection is believed.

use anyhow::Context;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::sync::Arc;

/// Where systems keep the certificates they believe: Debian, Red Hat, Alpine. The first that exists counts.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Believes the public authorities, and those that the machine's operator added to the machine.
pub fn config() -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(found) = SYSTEM.iter().find_map(|file| CertificateDer::pem_file_iter(file).ok()) {
        roots.add_parsable_certificates(found.filter_map(Result::ok));
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("The TLS library has no usable protocol version")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
