//! Tells why an endpoint is not trusted, once in a while: its clients are only told that it is not.

use std::io;
use std::time::SystemTime;

use super::audit::second;
use crate::base::limits::UNTRUSTED_TOLD_PERIOD;
use crate::base::say;
use crate::plan::EndpointPlan;

/// Tells of a failed handshake.
pub(super) fn tell(endpoint: &EndpointPlan, error: &io::Error) {
    let Some(tls) = &endpoint.tls else { return };
    if tls.may_tell(second(SystemTime::now()), UNTRUSTED_TOLD_PERIOD.as_secs()) {
        say::error(format_args!(
            "no trusted connection to {}\n  why: {error}\n  fix: see that its certificate is for {} and signed by one that is believed (tls.ca, else this machine's)",
            endpoint.url,
            tls.name().to_str(),
        ));
    }
}
