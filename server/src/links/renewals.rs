//! Certificates that devices ask for over their links: issued one after another, beside what links report.

use std::sync::Arc;

use muster_link::ToExtensions;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::registry::Registry;
use crate::devices::Peer;
use crate::devices::service::credentials::{self, RenewalError};
use crate::platform::Platform;
use crate::platform::sweep::Sweep;

/// Requests that may wait; one more is refused, and its device asks again within the hour.
const WAITING_MAX: usize = 256;

/// Takes requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Renewals(mpsc::Sender<Question>);

/// The other end: what [`run`] takes.
#[derive(Debug)]
pub struct Work(mpsc::Receiver<Question>);

#[derive(Debug)]
struct Question {
    peer: Peer,
    csr: String,
}

impl Renewals {
    pub(super) fn new() -> (Self, Work) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), Work(receiver))
    }

    /// A device asks; the answer goes over its link. False when too many wait.
    pub fn ask(&self, peer: &Peer, csr: String) -> bool {
        let peer = peer.clone();
        self.0.try_send(Question { peer, csr }).is_ok()
    }
}

/// What a device is told that cannot be served now.
pub(super) fn busy() -> ToExtensions {
    ToExtensions::RenewalRefused("the server renews many certificates now; ask later".to_owned())
}

/// Answers until told to stop.
pub(super) async fn run(
    platform: Platform,
    proof: Sweep,
    registry: Arc<Registry>,
    work: Work,
    stop: CancellationToken,
) {
    let mut work = work.0;
    loop {
        let question = tokio::select! {
            () = stop.cancelled() => return,
            question = work.recv() => question,
        };
        let Some(Question { peer, csr }) = question else {
            return;
        };
        let answer = match credentials::renew(&platform, proof, &peer, &csr).await {
            Ok(pem) => {
                tracing::info!(device.id = %peer.device(), "a certificate was renewed");
                ToExtensions::RenewalIssued(pem)
            }
            Err(error) => {
                if let RenewalError::Server(cause) = &error {
                    tracing::warn!(device.id = %peer.device(), error = %cause, "a certificate could not be renewed");
                }
                ToExtensions::RenewalRefused(error.to_string())
            }
        };
        platform.events.ring();
        registry.tell(peer.device(), answer.into());
    }
}
