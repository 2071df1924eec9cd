//! Who asks others over HTTP from threads that may wait: issuers for keys, collectors to take spans.

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};

/// One that gives up after `patience`. It trusts whom the machine trusts, and follows nobody elsewhere: whom to trust is said by
/// the address alone.
pub(super) fn agent(patience: Duration) -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .timeout_global(Some(patience))
        .max_redirects(0)
        .max_redirects_will_error(true)
        .proxy(None)
        .tls_config(tls)
        .user_agent("corelane")
        .build()
        .into()
}
