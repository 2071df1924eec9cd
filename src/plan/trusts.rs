//! Whom the plan's connections with TLS trust: those of a cluster that says so, or those of the machine, which are read once.

use crate::base::problem::{Placed, Problem};
use crate::base::trust::{Identity, TlsClient, Trust};
use crate::config::url::{EndpointAddress, EndpointUrl};
use crate::config::{ClusterConfig, Config, FilterConfig};

/// The machine's, where somebody needs it.
pub(super) struct Trusts(Option<Trust>);

impl Trusts {
    /// Reads what the machine trusts if something of `config` hangs on that.
    pub(super) fn of(config: &Config, problems: &mut Vec<Problem>) -> Self {
        let Some(first) = first_user(config) else { return Self(None) };
        match Trust::new(None, None) {
            Ok(trust) => Self(Some(trust)),
            Err(why) => {
                problems.push(first.problem(
                    "nobody at https:// could be trusted",
                    why,
                    "install the certificates of your system (ca-certificates), or name some by tls = { ca = \"ca.pem\" }",
                ));
                Self(None)
            }
        }
    }

    /// Whom this cluster trusts.
    pub(super) fn of_cluster(&self, cluster: &ClusterConfig, problems: &mut Vec<Problem>) -> Option<Trust> {
        let says = cluster.tls.as_ref().filter(|tls| tls.value.ca.is_some() || tls.value.cert.is_some());
        let Some(tls) = says else { return self.0.clone() };
        let own = tls.value.cert.as_ref().zip(tls.value.key.as_ref());
        let own = own.map(|(cert, key)| Identity { certificates: &cert.text, key: &key.text });
        let trust = Trust::new(tls.value.ca.as_ref().map(|ca| ca.text.as_str()), own);
        let told = |why| {
            tls.problem(
                "`tls` cannot be used",
                why,
                "name files in PEM: authorities as ca, our own certificate as cert, its private key as key",
            )
        };
        trust.map_err(|why| problems.push(told(why))).ok()
    }

    /// What a connection to `url` needs, where that is at https://, by what the machine trusts.
    pub(super) fn towards(&self, url: &EndpointUrl) -> Option<Result<TlsClient, String>> {
        client(self.0.as_ref(), url, None)
    }
}

/// What a connection to `url` needs, where that is at https://; the error says why there can be none.
pub(super) fn client(
    trust: Option<&Trust>,
    url: &EndpointUrl,
    name: Option<&str>,
) -> Option<Result<TlsClient, String>> {
    let EndpointAddress::Tcp { host, .. } = &url.address else { return None };
    // Without trust there is a problem already.
    let trust = trust.filter(|_| url.is_tls)?;
    Some(trust.towards(name.unwrap_or(host)))
}

/// The first that hangs on what the machine trusts.
fn first_user(config: &Config) -> Option<Placed<()>> {
    let own = |cluster: &ClusterConfig| cluster.tls.as_ref().is_some_and(|tls| tls.value.ca.is_some());
    let mut endpoints = config
        .clusters
        .0
        .iter()
        .map(|(_, cluster)| cluster)
        .filter(|cluster| !own(cluster))
        .flat_map(|cluster| &cluster.endpoints);
    let endpoint = endpoints.find(|endpoint| endpoint.value.url.is_tls).map(|endpoint| &endpoint.place);
    let ask = || {
        config.filters.0.iter().find_map(|(_, filter)| match filter {
            FilterConfig::Ask(ask) if ask.url.value.at.is_tls => Some(&ask.url.place),
            _ => None,
        })
    };
    endpoint.or_else(ask).map(|place| Placed { value: (), place: place.clone() })
}
