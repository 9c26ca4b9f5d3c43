//! What a device may send: whole frames pass, an unfinished one is held here and counted, a flood is slowed and then ended.
//! Sans-IO: bytes and the time go in, frames come out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use muster_link::limits::MESSAGE_MAX_BEFORE_JOIN;

use super::session::Closing;

/// Bytes of unfinished frames and messages that a node holds, of all its links together.
pub const UNFINISHED_MAX: usize = 8 * 1024 * 1024;
/// What a link may send in one go before it has joined, in tokens: a frame costs one, and one more for each KiB.
pub const BURST_BEFORE_JOIN: u32 = 256;
/// … and after: a file of 10 MiB that is sent over the console takes 20,480 (device-link §3.4).
pub const BURST: u32 = 32_768;
/// Tokens that a link is given each second.
pub const RATE: u32 = 256;
/// What passes at once, in tokens: a recorded device says 101 percents in one go. The rest of a burst is paced, so that the
/// others hardly feel it, …
pub const RUSH: u32 = 512;
/// … at this many tokens a second: a file of 10 MiB takes 2.5 s.
pub const RUSH_RATE: u32 = 8192;
/// How long a paced link waits for the next of them.
const PACE: Duration = Duration::from_millis(10);
/// A link that was slowed for this long, and went on, is ended.
pub const FLOOD_PATIENCE: Duration = Duration::from_secs(10);

/// How many bytes of unfinished frames the node holds. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Unfinished(Arc<AtomicUsize>);

impl Unfinished {
    /// What all links hold now, in bytes.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One link's part of [`Unfinished`]; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    node: Unfinished,
    bytes: usize,
}

impl Share {
    /// Holds nothing yet.
    pub fn new(node: Unfinished) -> Self {
        Self { node, bytes: 0 }
    }

    /// Holds this many bytes from now on.
    ///
    /// # Errors
    /// [`Closing::TooLarge`] when the node holds [`UNFINISHED_MAX`] already.
    pub fn hold(&mut self, bytes: usize) -> Result<(), Closing> {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes == before {
            return Ok(());
        }
        let Some(more) = bytes.checked_sub(before) else {
            self.node.0.fetch_sub(before - bytes, Ordering::Relaxed);
            return Ok(());
        };
        let all = self.node.0.fetch_add(more, Ordering::Relaxed) + more;
        if all > UNFINISHED_MAX {
            return Err(Closing::TooLarge);
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.node.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What comes out of an [`Intake`].
#[derive(Debug, PartialEq, Eq)]
pub enum Passed {
    /// A whole frame, as it came.
    Frame(BytesMut),
    /// Nothing before more bytes come.
    Nothing,
    /// Nothing before this much time has passed.
    Wait(Duration),
}

/// The bytes of one link on their way in.
#[derive(Debug)]
pub struct Intake {
    held: BytesMut,
    share: Share,
    message_max: usize,
    allowance: Bucket,
    rush: Bucket,
    dry_since: Option<Instant>,
}

/// Tokens that come with time, up to a burst.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    burst: u32,
    rate: u32,
    filled_at: Instant,
}

impl Bucket {
    fn full(burst: u32, rate: u32, now: Instant) -> Self {
        Self {
            tokens: burst,
            burst,
            rate,
            filled_at: now,
        }
    }

    fn widen(&mut self, burst: u32) {
        self.tokens += burst - self.burst;
        self.burst = burst;
    }

    fn fill(&mut self, now: Instant) {
        let millis = now.saturating_duration_since(self.filled_at).as_millis();
        let tokens = (millis * u128::from(self.rate) / 1000).min(u128::from(self.burst)) as u32;
        if tokens > 0 {
            self.filled_at = now;
            self.tokens = (self.tokens + tokens).min(self.burst);
        }
    }

    /// A full one has enough for anything.
    fn has(&self, cost: u32) -> bool {
        cost <= self.tokens || self.tokens == self.burst
    }

    fn take(&mut self, cost: u32) {
        self.tokens = self.tokens.saturating_sub(cost);
    }
}

impl Intake {
    /// The intake of a link that opens now.
    pub fn new(node: Unfinished, now: Instant) -> Self {
        Self {
            held: BytesMut::new(),
            share: Share::new(node),
            message_max: MESSAGE_MAX_BEFORE_JOIN,
            allowance: Bucket::full(BURST_BEFORE_JOIN, RATE, now),
            rush: Bucket::full(RUSH, RUSH_RATE, now),
            dry_since: None,
        }
    }

    /// From now on frames may be as large as this, and bursts as large as a joined link's.
    pub fn widen(&mut self, message_max: usize) {
        self.message_max = message_max;
        self.allowance.widen(BURST);
    }

    /// Bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Takes what may pass now.
    ///
    /// # Errors
    /// Why the link is to be closed: a frame is too large, the node holds too much, or the device does not stop.
    pub fn pass(&mut self, now: Instant) -> Result<Passed, Closing> {
        self.fill(now);
        let length = frame_length(&self.held);
        if length.as_ref().is_some_and(|length| length.payload > self.message_max) {
            return Err(Closing::TooLarge);
        }
        let Some(length) = length.filter(|length| length.whole() <= self.held.len()) else {
            self.share.hold(self.held.len())?;
            return Ok(Passed::Nothing);
        };
        let cost = 1 + (length.payload / 1024) as u32;
        if !self.allowance.has(cost) {
            self.share.hold(self.held.len())?;
            let since = *self.dry_since.get_or_insert(now);
            if now.saturating_duration_since(since) > FLOOD_PATIENCE {
                return Err(Closing::Flooding);
            }
            return Ok(Passed::Wait(Duration::from_millis(100)));
        }
        if !self.rush.has(cost) {
            return Ok(Passed::Wait(PACE));
        }
        self.allowance.take(cost);
        self.rush.take(cost);
        let frame = self.held.split_to(length.whole());
        if self.held.is_empty() {
            // An idle link keeps no buffer.
            self.held = BytesMut::new();
        }
        self.share.hold(0)?;
        Ok(Passed::Frame(frame))
    }

    /// A link that sends less than it may for a second was no flood.
    fn fill(&mut self, now: Instant) {
        self.rush.fill(now);
        self.allowance.fill(now);
        if self.allowance.tokens >= RATE.min(self.allowance.burst) {
            self.dry_since = None;
        }
    }
}

struct Length {
    head: usize,
    payload: usize,
}

impl Length {
    fn whole(&self) -> usize {
        self.head.saturating_add(self.payload)
    }
}

/// The lengths that a frame's head gives (RFC 6455 §5.2); none while the head is not whole.
fn frame_length(bytes: &[u8]) -> Option<Length> {
    let [_, second, rest @ ..] = bytes else { return None };
    let (size, payload) = match second & 0x7f {
        126 => (2, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (8, u64::from_be_bytes(*rest.first_chunk()?)),
        short => (0, u64::from(short)),
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    Some(Length {
        head: 2 + size + mask,
        payload: usize::try_from(payload).unwrap_or(usize::MAX),
    })
}

#[cfg(test)]
mod tests {
    use muster_link::limits::MESSAGE_MAX;

    use super::*;

    fn frame(payload: usize) -> Vec<u8> {
        let mut frame = vec![0x81];
        match payload {
            0..=125 => frame.push(0x80 | payload as u8),
            126..=0xffff => {
                frame.push(0x80 | 0x7e);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 0x7f);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.resize(frame.len() + payload, b'x');
        frame
    }

    fn joined(node: &Unfinished, now: Instant) -> Intake {
        let mut intake = Intake::new(node.clone(), now);
        intake.widen(MESSAGE_MAX);
        intake
    }

    #[test]
    fn whole_frames_pass_and_unfinished_ones_are_counted() {
        let (node, mut now) = (Unfinished::default(), Instant::now());
        let mut intake = joined(&node, now);
        for payload in [0, 125, 126, 65_535, 65_536, MESSAGE_MAX] {
            let sent = [frame(payload), frame(3)].concat();
            let mut got = Vec::new();
            for piece in sent.chunks(5000) {
                intake.push(piece);
                loop {
                    match intake.pass(now).unwrap() {
                        Passed::Frame(frame) => got.extend_from_slice(&frame),
                        Passed::Wait(time) => now += time,
                        Passed::Nothing => break,
                    }
                }
                assert_eq!(got.len() + node.bytes(), got.len() + intake.held.len());
            }
            assert_eq!(got, sent);
        }
        assert_eq!((node.bytes(), intake.held.capacity()), (0, 0));
        intake.push(&frame(10)[..5]);
        intake.pass(now).unwrap();
        assert_eq!(node.bytes(), 5);
        drop(intake);
        assert_eq!(node.bytes(), 0);
    }

    #[test]
    fn a_frame_that_says_it_is_too_large_ends_the_link_before_it_has_come() {
        let (node, now) = (Unfinished::default(), Instant::now());
        let mut intake = Intake::new(node.clone(), now);
        intake.push(&frame(MESSAGE_MAX_BEFORE_JOIN + 1)[..20]);
        assert_eq!(intake.pass(now), Err(Closing::TooLarge));
        let mut intake = joined(&node, now);
        intake.push(&frame(MESSAGE_MAX + 1)[..20]);
        assert_eq!(intake.pass(now), Err(Closing::TooLarge));
        let mut intake = joined(&node, now);
        intake.push(&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(intake.pass(now), Err(Closing::TooLarge));
    }

    #[test]
    fn a_node_holds_so_many_unfinished_bytes_and_no_more() {
        let (node, now) = (Unfinished::default(), Instant::now());
        let half = &frame(MESSAGE_MAX)[..MESSAGE_MAX / 2];
        let mut links = Vec::new();
        let refused = loop {
            let mut intake = joined(&node, now);
            intake.push(half);
            if let Err(closing) = intake.pass(now) {
                break closing;
            }
            links.push(intake);
        };
        assert_eq!((refused, links.len()), (Closing::TooLarge, UNFINISHED_MAX / half.len()));
        links.pop();
        let mut intake = joined(&node, now);
        intake.push(half);
        assert_eq!(intake.pass(now), Ok(Passed::Nothing));
    }

    /// Passes what is held, as time goes by; how many frames that were.
    fn pass_all(intake: &mut Intake, now: &mut Instant) -> Result<usize, Closing> {
        let mut passed = 0;
        loop {
            match intake.pass(*now)? {
                Passed::Frame(_) => passed += 1,
                Passed::Wait(time) => *now += time,
                Passed::Nothing => return Ok(passed),
            }
        }
    }

    #[test]
    fn a_file_is_paced_and_no_flood() {
        let (node, start) = (Unfinished::default(), Instant::now());
        let (mut intake, mut now) = (joined(&node, start), start);
        let chunk = frame(1100).repeat(16);
        for _ in 0..10_240 / 16 {
            intake.push(&chunk);
            assert_eq!(pass_all(&mut intake, &mut now), Ok(16));
        }
        let took = now - start;
        assert!((2.4..2.7).contains(&took.as_secs_f64()), "{took:?}");
        assert_eq!(intake.dry_since, None);
    }

    #[test]
    fn what_a_real_device_says_in_one_go_passes_at_once() {
        let (node, now) = (Unfinished::default(), Instant::now());
        let mut intake = joined(&node, now);
        intake.push(&frame(90).repeat(RUSH as usize + 1));
        for _ in 0..RUSH {
            assert!(matches!(intake.pass(now), Ok(Passed::Frame(_))));
        }
        assert_eq!(intake.pass(now), Ok(Passed::Wait(PACE)));
        let rest = now + PACE;
        assert!(matches!(intake.pass(rest), Ok(Passed::Frame(_))));
        assert_eq!(intake.pass(rest), Ok(Passed::Nothing));
    }

    #[test]
    fn a_flood_is_slowed_and_then_ended() {
        let (node, mut now) = (Unfinished::default(), Instant::now());
        let start = now;
        let mut intake = joined(&node, now);
        let chunk = frame(1100).repeat(256);
        let mut passed = 0;
        let ended = loop {
            intake.push(&chunk);
            match pass_all(&mut intake, &mut now) {
                Ok(frames) => passed += frames,
                Err(closing) => break closing,
            }
        };
        assert_eq!(ended, Closing::Flooding);
        let seconds = (now - start).as_secs() as usize;
        // Its burst lasts four seconds.
        assert!((14..=15).contains(&seconds), "{seconds}");
        let most = BURST as usize + (seconds + 1) * RATE as usize;
        assert!(2 * passed <= most, "{passed} of {most}");
    }

    #[test]
    fn a_link_that_rests_may_burst_again() {
        let (node, mut now) = (Unfinished::default(), Instant::now());
        let mut intake = Intake::new(node, now);
        for _ in 0..5 {
            intake.push(&frame(10).repeat(2 * BURST_BEFORE_JOIN as usize));
            for end in [Passed::Wait(Duration::from_millis(100)), Passed::Nothing] {
                for _ in 0..BURST_BEFORE_JOIN {
                    assert!(matches!(intake.pass(now), Ok(Passed::Frame(_))));
                }
                assert_eq!(intake.pass(now), Ok(end));
                now += Duration::from_secs(4);
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_come_out_as_they_went_in_or_not_at_all(pieces in proptest::collection::vec(proptest::collection::vec(0_u8..=255, 0..40), 0..20)) {
            let (node, now) = (Unfinished::default(), Instant::now());
            let mut intake = joined(&node, now);
            let (mut sent, mut got) = (Vec::new(), Vec::new());
            for piece in pieces {
                sent.extend_from_slice(&piece);
                intake.push(&piece);
                while let Ok(Passed::Frame(frame)) = intake.pass(now) {
                    got.extend_from_slice(&frame);
                }
            }
            assert!(sent.starts_with(&got));
        }
    }
}
