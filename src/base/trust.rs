//! Whom a connection with TLS trusts, and as whom it comes: made of certificates, shared by all lanes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::Verifier;

/// What is spoken inside: HTTP/1.1 (RFC 7301 §6).
const ALPN: &[u8] = b"http/1.1";

/// Whose certificates are believed, and the own one, if there is any.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

/// A certificate of our own and its private key, both as PEM.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'p> {
    /// The chain, the own certificate first.
    pub certificates: &'p str,
    /// The key.
    pub key: &'p str,
}

impl Trust {
    /// Believes the certificates of `authorities`, as PEM; without them those that the machine believes (its own store, or
    /// what SSL_CERT_FILE and SSL_CERT_DIR name). The error says why that cannot be.
    pub fn new(authorities: Option<&str>, own: Option<Identity<'_>>) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match authorities {
            Some(pem) => believing(pem, &provider)?,
            None => Arc::new(
                Verifier::new(Arc::clone(&provider))
                    .map_err(|error| format!("this machine has no certificates to believe: {error}"))?,
            ),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match own {
            Some(Identity { certificates, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|error| format!("no private key can be read: {error}"))?;
                builder
                    .with_client_auth_cert(certificates_of(certificates)?, key)
                    .map_err(|error| error.to_string())?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// The same towards one host, a name or an address, which its certificate must be for.
    pub fn towards(&self, host: &str) -> Result<TlsClient, String> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            format!("no certificate can be for \"{host}\": it is neither a name nor an address")
        })?;
        Ok(TlsClient { config: Arc::clone(&self.0), name, told: AtomicU64::default() })
    }
}

fn believing(pem: &str, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(pem)? {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())
}

/// All certificates of a text; at least one.
fn certificates_of(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match all {
        Ok(all) if all.is_empty() => Err("no certificate stands in it".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("no certificate can be read: {error}")),
    }
}

/// What a connection with TLS to one host needs.
pub struct TlsClient {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    /// When it was last told that the host is not believed, in seconds; zero for never.
    told: AtomicU64,
}

impl TlsClient {
    /// Whom it believes, and as whom it comes.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// For whom the host's certificate must be.
    pub fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// Whether it is to be told, at this `second`, that the host is not believed: once in `period` seconds over all lanes.
    pub fn may_tell(&self, second: u64, period: u64) -> bool {
        let next = |told: u64| (told == 0 || second >= told + period).then_some(second.max(1));
        self.told.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsClient({:?})", self.name)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_told() {
        let why = |ca: &str| Trust::new(Some(ca), None).unwrap_err();
        assert!(why("").contains("no certificate"), "{}", why(""));
        assert!(why("hello").contains("no certificate"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(!why(broken).is_empty());
    }

    #[test]
    fn an_untrusted_host_is_told_of_once_in_a_while() {
        let issued = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let trust = Trust::new(Some(&issued.cert.pem()), None).unwrap();
        let client = trust.towards("a").unwrap();
        assert!(client.may_tell(0, 60) && !client.may_tell(59, 60) && client.may_tell(61, 60));
        assert!(trust.towards("a b").is_err() && trust.towards("::1").is_ok());
    }
}
