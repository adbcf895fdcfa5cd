//! How the other side of an encrypted connection is believed.

use anyhow::Context;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::sync::{Arc, OnceLock};

/// Where systems keep the certificates they believe: Debian, Red Hat, Alpine. The first that exists counts.
const SYSTEM: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

pub fn config() -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let authorities = Authorities { provider: provider.clone(), verifier: OnceLock::new() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("The TLS library has no usable protocol version")?
        // The library's own verifier, made later: nothing is believed that it does not believe.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(authorities))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The public authorities, and those that the machine's operator added to the machine. They are read for the first
/// encrypted connection, which takes some milliseconds and half a megabyte: a start needs none.
#[derive(Debug)]
struct Authorities {
    provider: Arc<CryptoProvider>,
    verifier: OnceLock<Result<Arc<WebPkiServerVerifier>, Error>>,
}

impl Authorities {
    fn verifier(&self) -> Result<&WebPkiServerVerifier, Error> {
        let read = || {
            let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            if let Some(found) = SYSTEM.iter().find_map(|file| CertificateDer::pem_file_iter(file).ok()) {
                roots.add_parsable_certificates(found.filter_map(Result::ok));
            }
            WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone())
                .build()
                .map_err(|error| Error::General(error.to_string()))
        };
        self.verifier.get_or_init(read).as_deref().map_err(Clone::clone)
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        status: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier()?.verify_server_cert(certificate, between, name, status, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use rustls::{CertificateError, ClientConnection, ServerConfig, ServerConnection};
    use std::io::{Read, Write};

    fn certified() -> (CertificateDer<'static>, ServerConfig) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["service.test".to_owned()]).unwrap();
        let key = signing_key.serialize_der().try_into().unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        (cert.der().clone(), config)
    }

    /// What the client says to the certificate of the server.
    fn shake_hands(client: ClientConfig, server: ServerConfig, name: &'static str) -> Result<(), Error> {
        let mut client = ClientConnection::new(client.into(), name.try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(server.into()).unwrap();
        let mut wire = Vec::new();
        while client.is_handshaking() {
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            while server.wants_write() {
                server.write_tls(&mut wire).unwrap();
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
            }
            client.process_new_packets()?;
            wire.clear();
        }
        client.writer().write_all(b"hello").unwrap();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut heard = [0; 5];
        server.reader().read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
        Ok(())
    }

    #[test]
    fn who_is_vouched_for_by_nobody_is_not_believed() {
        let refused = shake_hands(config().unwrap(), certified().1, "service.test").unwrap_err();
        assert_eq!(refused, Error::InvalidCertificate(CertificateError::UnknownIssuer));
    }

    #[test]
    fn who_is_vouched_for_is_believed_under_their_own_name_only() {
        for (name, is_believed) in [("service.test", true), ("another.test", false)] {
            let (certificate, server) = certified();
            let provider = Arc::new(aws_lc_rs::default_provider());
            let mut roots = RootCertStore::empty();
            roots.add(certificate).unwrap();
            let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
            let authorities = Authorities { provider, verifier: OnceLock::from(Ok(verifier)) };
            let mut client = config().unwrap();
            client.dangerous().set_certificate_verifier(Arc::new(authorities));
            assert_eq!(shake_hands(client, server, name).is_ok(), is_believed, "{name}");
        }
    }
}
