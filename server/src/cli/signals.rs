//! Being told to stop: the first Ctrl-C or SIGTERM ends everything in order, a second one at once.

use std::future::poll_fn;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What a shell says of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// A token that is cancelled at the first signal. At the second, `at_once` is called and the process ends.
///
/// # Errors
/// When signals cannot be caught.
pub(super) fn stop(at_once: impl FnOnce() + Send + 'static) -> anyhow::Result<CancellationToken> {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let mut signals = kinds
        .into_iter()
        .map(signal)
        .collect::<Result<Vec<Signal>, _>>()
        .context("signals cannot be caught")?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        next(&mut signals).await;
        tracing::info!("stopping; a second Ctrl-C ends everything at once");
        told.cancel();
        next(&mut signals).await;
        at_once();
        std::process::exit(INTERRUPTED);
    });
    Ok(stop)
}

async fn next(signals: &mut [Signal]) {
    poll_fn(|context| {
        if signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready()) {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
}
