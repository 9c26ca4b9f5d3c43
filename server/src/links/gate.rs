//! What stands between a connection's bytes and its link: frames pass one by one as [`intake`](super::intake) lets them, and
//! after so many of them the link gives way to the others of its thread.

use std::pin::Pin;
use std::task::{Context as Task, Poll, ready};
use std::time::Instant;

use actix_http::ws::ProtocolError;
use bytes::BytesMut;
use tokio::task::coop;
use tokio::time::Sleep;

use super::intake::{Intake, Passed, Unfinished};
use super::session::Closing;

/// What a frame costs of the 128 that tokio lets a task do in one turn: after 32 of them the others of the thread come first.
const COST: usize = 4;

/// The gate of one link.
#[derive(Debug)]
pub struct Gate {
    intake: Intake,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Why no more frames come.
#[derive(Debug, Clone, Copy)]
pub enum Ended {
    /// The connection is gone.
    Lost,
    /// What came is refused.
    Refused(Closing),
}

/// What the codec cannot read: frames that are none, bad UTF-8, reserved bits.
impl From<ProtocolError> for Ended {
    fn from(error: ProtocolError) -> Self {
        Self::Refused(match error {
            ProtocolError::Overflow => Closing::TooLarge,
            _ => Closing::Malformed,
        })
    }
}

impl Gate {
    /// The gate of a link that opens now.
    pub fn new(node: Unfinished) -> Self {
        Self {
            intake: Intake::new(node, Instant::now()),
            pause: None,
        }
    }

    /// The device joined: from now on messages may be as large as this, and bursts as large as a joined link's.
    pub fn widen(&mut self, message_max: usize) {
        self.intake.widen(message_max);
    }

    /// Bytes that came with the upgrade.
    #[cfg(feature = "upgrade-socket")]
    pub fn push(&mut self, bytes: &[u8]) {
        self.intake.push(bytes);
    }

    /// The next whole frame. Each costs [`COST`] of what tokio lets a task do in one turn, so that a flood is served in turn with
    /// the others. `read` brings bytes, and says false when none will come any more.
    pub fn poll_frame(
        &mut self,
        task: &mut Task<'_>,
        mut read: impl FnMut(&mut Intake, &mut Task<'_>) -> Poll<bool>,
    ) -> Poll<Result<BytesMut, Ended>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(task));
                self.pause = None;
            }
            let turn = ready!(coop::poll_proceed(task));
            let passed = self.intake.pass(Instant::now());
            if let Ok(Passed::Frame(frame)) = passed {
                turn.made_progress();
                for _ in 1..COST {
                    if let Poll::Ready(more) = coop::poll_proceed(task) {
                        more.made_progress();
                    }
                }
                return Poll::Ready(Ok(frame));
            }
            // Given back before reads and timers take their own.
            drop(turn);
            match passed {
                Ok(Passed::Wait(time)) => self.pause = Some(Box::pin(tokio::time::sleep(time))),
                Ok(_) => {
                    if !ready!(read(&mut self.intake, task)) {
                        return Poll::Ready(Err(Ended::Lost));
                    }
                }
                Err(closing) => return Poll::Ready(Err(Ended::Refused(closing))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use muster_link::limits::MESSAGE_MAX;

    use super::super::intake::RUSH;
    use super::*;

    /// A text of one byte, with a mask of zeros.
    const FRAME: [u8; 7] = [0x81, 0x81, 0, 0, 0, 0, b'x'];

    #[tokio::test]
    async fn a_flood_gives_way_after_a_few_dozen_frames() {
        let mut gate = Gate::new(Unfinished::default());
        gate.widen(MESSAGE_MAX);
        gate.intake.push(&FRAME.repeat(1000));
        let mut turns = Vec::new();
        while turns.iter().sum::<usize>() < RUSH as usize {
            let passed = poll_fn(|task| {
                let mut passed = 0;
                while let Poll::Ready(frame) = gate.poll_frame(task, |_, _| Poll::Pending) {
                    assert_eq!(frame.unwrap()[..], FRAME);
                    passed += 1;
                }
                if passed > 0 { Poll::Ready(passed) } else { Poll::Pending }
            });
            turns.push(passed.await);
        }
        assert!(turns.iter().all(|passed| *passed <= 32), "{turns:?}");
        // None is a pause: what a recorded device says in one go, 101 percents, passes as fast as the others let it.
        assert!(turns.len() <= RUSH as usize / 30, "{turns:?}");
    }

    #[tokio::test]
    async fn what_was_refused_is_told_from_what_was_lost() {
        let mut gate = Gate::new(Unfinished::default());
        let lost = poll_fn(|task| gate.poll_frame(task, |_, _| Poll::Ready(false))).await;
        assert!(matches!(lost, Err(Ended::Lost)));
        gate.intake
            .push(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        let refused = poll_fn(|task| gate.poll_frame(task, |_, _| Poll::Pending)).await;
        assert!(matches!(refused, Err(Ended::Refused(Closing::TooLarge))));
    }
}
