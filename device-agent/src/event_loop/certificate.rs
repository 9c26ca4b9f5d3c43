//! The device's certificate: asked for anew in time, proved by a connection, warned of where nobody renews it.

use std::time::Duration;

use muster_link::{Extension, FromExtensions};
use tokio::time::Instant;

use super::agent::Agent;
use crate::clock;
use crate::link::Command;
use crate::renewal::Renewal;

/// A server has said by then whether it renews certificates.
const FIRST_CHECK: Duration = Duration::from_secs(10);
/// What was not renewed is asked for again, and looked at again, after this.
const CHECK_AGAIN: Duration = Duration::from_hours(1);

impl Agent {
    /// The server has us: what that says of a new certificate.
    pub(super) fn certificate_joined(&mut self, now: Instant) {
        let cert = self.connection.cert.clone();
        if let Some((renewal, cert)) = self.parts.renewal.as_mut().zip(cert)
            && let Err(cause) = renewal.joined(&cert)
        {
            tracing::error!(error = %cause, "new certificate not kept");
        }
        self.certificate_due = self.parts.renewal.is_some().then_some(now + FIRST_CHECK);
    }

    /// No connection was opened; perhaps the certificate is why.
    pub(super) fn certificate_failed(&mut self) {
        if self.parts.renewal.as_mut().is_some_and(Renewal::failed) {
            self.show_certificate();
        }
    }

    /// Asks for a new certificate if it is time for one, and warns if its end is near.
    pub(super) fn check_certificate(&mut self, now: Instant) {
        self.certificate_due = Some(now + CHECK_AGAIN);
        let renews = self.server_renews();
        if renews {
            self.ask_certificate();
        }
        let known = self.parts.identity.time.known(clock::now());
        let Some((renewal, seconds)) = self.parts.renewal.as_ref().zip(known) else {
            return;
        };
        let warns = renewal.warns(seconds, renews);
        if warns && !self.certificate_ends {
            tracing::warn!(certificate.expires = renewal.expires(), "certificate ends soon");
        }
        self.certificate_ends = warns;
    }

    fn server_renews(&self) -> bool {
        let online = self.online.as_ref();
        online.is_some_and(|online| online.extensions.has(Extension::Renewal))
    }

    /// Asks for a new certificate if it is time for one. Where nobody knows the time it never is.
    pub(super) fn ask_certificate(&self) {
        let known = self.parts.identity.time.known(clock::now());
        let Some((renewal, seconds)) = self.parts.renewal.as_ref().zip(known) else {
            return;
        };
        match renewal.request(seconds) {
            Ok(None) => {}
            Ok(Some(csr)) => {
                tracing::info!(certificate.expires = renewal.expires(), "new certificate asked for");
                self.say(FromExtensions::RenewalRequest(csr));
            }
            Err(cause) => tracing::error!(error = %cause, "no new certificate can be asked for"),
        }
    }

    /// The new certificate came. It is proved by a connection of its own: now, unless an update runs, whose reboot brings
    /// one anyway.
    pub(super) fn certificate_issued(&mut self, pem: &str) {
        let Some(renewal) = &mut self.parts.renewal else {
            return;
        };
        if let Err(cause) = renewal.issued(pem) {
            tracing::error!(error = %cause, "new certificate refused");
            return;
        }
        tracing::info!("new certificate issued");
        self.show_certificate();
        if self.parts.machine.busy_uuid().is_none() {
            self.tell(Command::Reconnect);
        }
    }

    fn show_certificate(&self) {
        let Some(shown) = self.parts.renewal.as_ref().and_then(Renewal::shown) else {
            return;
        };
        match self.parts.identity.show(&shown.cert, &shown.key) {
            Ok(()) => tracing::info!(certificate.file = %shown.cert.display(), "certificate shown from now on"),
            Err(cause) => tracing::error!(error = %cause, "certificate not shown"),
        }
    }
}
