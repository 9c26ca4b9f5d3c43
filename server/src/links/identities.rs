//! Who connects: certificates are looked up in batches, off the socket's thread.

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ca::x509::Certificate;
use crate::devices::identity;
use crate::devices::{Peer, Refusal};
use crate::platform::Platform;
use crate::platform::sweep::Sweep;

/// Look-ups that may wait; one more is answered 503 and its device tries again.
const WAITING_MAX: usize = 4096;
/// Look-ups of one statement.
const BATCH_MAX: usize = 256;
/// Batches at once: one that introduces new devices must not hold up those that are known.
const BATCHES: usize = 4;

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
    let work = tokio::sync::Mutex::new(work.0);
    let workers = (0..BATCHES).map(|_| serve(&platform, proof, &work));
    tokio::select! {
        () = stop.cancelled() => {}
        _ = futures_util::future::join_all(workers) => {}
    }
}

async fn serve(platform: &Platform, proof: Sweep, work: &tokio::sync::Mutex<mpsc::Receiver<Question>>) {
    loop {
        let mut batch = Vec::new();
        if work.lock().await.recv_many(&mut batch, BATCH_MAX).await == 0 {
            return;
        }
        answer(platform, proof, batch).await;
    }
}

async fn answer(platform: &Platform, proof: Sweep, batch: Vec<Question>) {
    let (certificates, answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|question| (question.certificate, question.answer))
        .unzip();
    match identity::identify(platform, proof, &certificates).await {
        Ok(found) => {
            for (answer, found) in answers.into_iter().zip(found) {
                let _ = answer.send(found);
            }
        }
        // Dropped answers are refusals as unavailable.
        Err(error) => tracing::warn!(%error, waiting = certificates.len(), "devices could not be looked up"),
    }
}
