//! Who connects: certificates are looked up in batches, off the socket's thread. One look-up is under way at a time, so that
//! a herd gathers before the next; devices that are not known yet introduce themselves beside it.

use std::time::Duration;

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
/// A batch this large is a herd, …
const HERD: usize = 8;
/// … for which the next look-up begins this much after the last.
const GATHER: Duration = Duration::from_millis(25);
/// Introductions at once.
const INTRODUCTIONS: usize = 4;

/// Asks who a certificate is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identities(mpsc::Sender<Question>);

/// The other end: what [`run`] takes.
#[derive(Debug)]
pub struct Work(mpsc::Receiver<Question>);

#[derive(Debug)]
struct Question {
    certificate: Certificate,
    answer: oneshot::Sender<Result<Peer, Refusal>>,
}

impl Identities {
    pub(super) fn new() -> (Self, Work) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), Work(receiver))
    }

    /// Who shows this certificate.
    ///
    /// # Errors
    /// [`Refusal`] says why it is nobody.
    pub async fn who(&self, certificate: Certificate) -> Result<Peer, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.0
            .try_send(Question { certificate, answer })
            .map_err(|_| Refusal::Unavailable)?;
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
        () = look_up(&platform, proof, work.0, strangers) => {}
        _ = futures_util::future::join_all(workers) => {}
    }
}

async fn look_up(
    platform: &Platform,
    proof: Sweep,
    mut work: mpsc::Receiver<Question>,
    strangers: mpsc::Sender<Question>,
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

async fn answer(platform: &Platform, proof: Sweep, batch: Vec<Question>, strangers: &mpsc::Sender<Question>) {
    let (certificates, answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|question| (question.certificate, question.answer))
        .unzip();
    match identity::known(platform, proof, &certificates).await {
        Ok(found) => {
            for ((certificate, answer), found) in certificates.into_iter().zip(answers).zip(found) {
                if let Some(found) = found {
                    let _ = answer.send(found);
                } else {
                    // One too many is dropped, which is a refusal as unavailable.
                    let _ = strangers.try_send(Question { certificate, answer });
                }
            }
        }
        // Dropped answers are refusals as unavailable.
        Err(error) => tracing::warn!(%error, waiting = certificates.len(), "devices could not be looked up"),
    }
}

async fn introduce(platform: &Platform, proof: Sweep, work: &tokio::sync::Mutex<mpsc::Receiver<Question>>) {
    loop {
        let Some(question) = work.lock().await.recv().await else {
            return;
        };
        match identity::introduced(platform, proof, &question.certificate).await {
            Ok(found) => drop(question.answer.send(found)),
            Err(error) => tracing::warn!(%error, "a certificate could not be looked up"),
        }
    }
}
