//! Who connects: certificates are looked up in batches, off the socket's thread. One look-up is under way at a time, so that
//! a herd gathers before the next; devices that are not known yet introduce themselves beside it, and so do signatures by
//! shared secrets, whose checks cost more.

use std::time::Duration;

use muster_link::credential::Claim;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::ca::x509::Certificate;
use crate::devices::identity;
use crate::devices::{Peer, Refusal};
use crate::platform::Platform;
use crate::platform::sweep::Sweep;

/// Look-ups that may wait; one more is answered 503 and its device tries again.
const WAITING_MAX: usize = 4096;
/// Look-ups of one statement.
const BATCH_MAX: usize = 1024;
/// A batch this large is a herd: what a thousand connects a second bring while one look-up is under way, …
const HERD: usize = 4;
/// … for which the next look-up begins this much after the last.
const GATHER: Duration = Duration::from_millis(40);
/// Introductions at once.
const INTRODUCTIONS: usize = 4;
/// Signatures that may wait to be checked, …
const SIGNATURES_MAX: usize = 1024;
/// … and those that are looked up in one statement: all must be checked before the first is answered.
const SIGNATURES_BATCH: usize = 64;

/// What a device proves itself by.
#[derive(Debug)]
pub enum Proof {
    /// A certificate, whose key it was shown to have.
    Certificate(Box<Certificate>),
    /// A signature by a shared secret, not checked yet.
    Signature(Box<Claim>),
}

/// Asks who a device is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identities {
    certificates: mpsc::Sender<Question<Certificate>>,
    signatures: mpsc::Sender<Question<Claim>>,
}

/// The other end: what [`run`] takes.
#[derive(Debug)]
pub struct Work {
    certificates: mpsc::Receiver<Question<Certificate>>,
    signatures: mpsc::Receiver<Question<Claim>>,
}

#[derive(Debug)]
struct Question<T> {
    proof: Box<T>,
    answer: oneshot::Sender<Result<Peer, Refusal>>,
}

impl Identities {
    pub(super) fn new() -> (Self, Work) {
        let (certificates, certificate_work) = mpsc::channel(WAITING_MAX);
        let (signatures, signature_work) = mpsc::channel(SIGNATURES_MAX);
        let work = Work {
            certificates: certificate_work,
            signatures: signature_work,
        };
        let asks = Self {
            certificates,
            signatures,
        };
        (asks, work)
    }

    /// Who proves itself so.
    ///
    /// # Errors
    /// [`Refusal`] says why it is nobody.
    pub async fn who(&self, proof: Proof) -> Result<Peer, Refusal> {
        let (answer, answered) = oneshot::channel();
        let is_asked = match proof {
            Proof::Certificate(proof) => self.certificates.try_send(Question { proof, answer }).is_ok(),
            Proof::Signature(proof) => self.signatures.try_send(Question { proof, answer }).is_ok(),
        };
        if !is_asked {
            return Err(Refusal::Unavailable);
        }
        answered.await.unwrap_or(Err(Refusal::Unavailable))
    }
}

/// Answers until told to stop.
pub(super) async fn run(platform: Platform, proof: Sweep, work: Work, stop: CancellationToken) {
    let (strangers, introductions) = mpsc::channel(WAITING_MAX);
    let introductions = tokio::sync::Mutex::new(introductions);
    let workers = (0..INTRODUCTIONS).map(|_| introduce(&platform, proof, &introductions));
    tokio::select! {
        () = stop.cancelled() => {}
        () = look_up(&platform, proof, work.certificates, strangers) => {}
        () = check(&platform, proof, work.signatures) => {}
        _ = futures_util::future::join_all(workers) => {}
    }
}

async fn look_up(
    platform: &Platform,
    proof: Sweep,
    mut work: mpsc::Receiver<Question<Certificate>>,
    strangers: mpsc::Sender<Question<Certificate>>,
) {
    loop {
        let mut batch = Vec::new();
        let count = work.recv_many(&mut batch, BATCH_MAX).await;
        if count == 0 {
            return;
        }
        let began = Instant::now();
        answer(platform, proof, batch, &strangers).await;
        if count >= HERD {
            sleep_until(began + GATHER).await;
        }
    }
}

async fn answer(
    platform: &Platform,
    proof: Sweep,
    batch: Vec<Question<Certificate>>,
    strangers: &mpsc::Sender<Question<Certificate>>,
) {
    let (certificates, answers): (Vec<Certificate>, Vec<_>) = batch
        .into_iter()
        .map(|question| (*question.proof, question.answer))
        .unzip();
    match identity::known(platform, proof, &certificates).await {
        Ok(found) => {
            for ((certificate, answer), found) in certificates.into_iter().zip(answers).zip(found) {
                if let Some(found) = found {
                    let _ = answer.send(found);
                } else {
                    // One too many is dropped, which is a refusal as unavailable.
                    let proof = Box::new(certificate);
                    let _ = strangers.try_send(Question { proof, answer });
                }
            }
        }
        // Dropped answers are refusals as unavailable.
        Err(error) => tracing::warn!(%error, waiting = certificates.len(), "devices could not be looked up"),
    }
}

async fn introduce(
    platform: &Platform,
    proof: Sweep,
    work: &tokio::sync::Mutex<mpsc::Receiver<Question<Certificate>>>,
) {
    loop {
        let Some(question) = work.lock().await.recv().await else {
            return;
        };
        match identity::introduced(platform, proof, &question.proof).await {
            Ok(found) => drop(question.answer.send(found)),
            Err(error) => tracing::warn!(%error, "a certificate could not be looked up"),
        }
    }
}

async fn check(platform: &Platform, proof: Sweep, mut work: mpsc::Receiver<Question<Claim>>) {
    loop {
        let mut batch = Vec::new();
        if work.recv_many(&mut batch, SIGNATURES_BATCH).await == 0 {
            return;
        }
        let (claims, answers): (Vec<Claim>, Vec<_>) = batch
            .into_iter()
            .map(|question| (*question.proof, question.answer))
            .unzip();
        let waiting = claims.len();
        match identity::by_secrets(platform, proof, claims).await {
            Ok(found) => {
                for (answer, found) in answers.into_iter().zip(found) {
                    let _ = answer.send(found);
                }
            }
            // Dropped answers are refusals as unavailable.
            Err(error) => tracing::warn!(%error, waiting, "shared secrets could not be looked up"),
        }
    }
}
