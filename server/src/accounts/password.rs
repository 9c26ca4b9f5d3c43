//! Passwords, and how many guesses are taken.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::platform::random::Random;

/// Failed attempts at one email from one address within [`WINDOW`]; more are refused without a look at the password.
pub const MAX_FAILURES: u32 = 10;
/// How long a failed attempt counts.
pub const WINDOW: Duration = Duration::minutes(1);
/// Pairs of email and address that are remembered; the oldest is forgotten first.
const MAX_REMEMBERED: usize = 10_000;
/// Passwords that are hashed at once: each takes 19 MiB and a core.
const HASHING_AT_ONCE: usize = 2;
/// Sign-ins that wait for their turn; more are refused.
const WAITING: usize = 64;

/// A password's length, in characters.
pub const PASSWORD_LEN: std::ops::RangeInclusive<usize> = 12..=200;
/// How many characters a password made by the server has: 119 bits.
const RANDOM_LEN: usize = 20;

/// The gate that sign-ins pass: bounded work, bounded guesses. One a process, cheap to clone.
#[derive(Debug, Clone)]
pub struct SignIns(Arc<Gate>);

#[derive(Debug)]
struct Gate {
    hashing: Semaphore,
    waiting: Semaphore,
    failures: Mutex<HashMap<[u8; 32], Failures>>,
}

#[derive(Debug)]
struct Failures {
    since: OffsetDateTime,
    count: u32,
}

/// Why an attempt was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many failed.
    #[error("Too many failed attempts to sign in. Wait a minute and try again.")]
    TooManyFailures,
    /// Too many wait.
    #[error("Too many people are signing in right now. Try again in a moment.")]
    Busy,
}

impl Default for SignIns {
    fn default() -> Self {
        Self(Arc::new(Gate {
            hashing: Semaphore::new(HASHING_AT_ONCE),
            waiting: Semaphore::new(WAITING),
            failures: Mutex::default(),
        }))
    }
}

impl SignIns {
    /// Counts an attempt, as failed until [`SignIns::succeeded`] says otherwise.
    pub(super) fn admit(&self, email: &str, address: Option<IpAddr>, now: OffsetDateTime) -> Result<(), Refused> {
        let mut failures = self.0.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(email, address);
        if failures.len() >= MAX_REMEMBERED && !failures.contains_key(&key) {
            forget(&mut failures, now);
        }
        let entry = failures.entry(key).or_insert(Failures { since: now, count: 0 });
        if entry.since + WINDOW <= now {
            *entry = Failures { since: now, count: 0 };
        }
        if entry.count >= MAX_FAILURES {
            return Err(Refused::TooManyFailures);
        }
        entry.count += 1;
        Ok(())
    }

    /// Forgets the failures of a person who knew the password.
    pub(super) fn succeeded(&self, email: &str, address: Option<IpAddr>) {
        let mut failures = self.0.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.remove(&key(email, address));
    }

    /// Whether the password is the hash's; takes the same time when there is no hash.
    pub(super) async fn check(&self, password: Zeroizing<String>, hash: Option<String>) -> Result<bool, Refused> {
        let _place = self.0.waiting.try_acquire().map_err(|_| Refused::Busy)?;
        let _turn = self.0.hashing.acquire().await.map_err(|_| Refused::Busy)?;
        let checked = tokio::task::spawn_blocking(move || verify(&password, hash.as_deref())).await;
        Ok(checked.unwrap_or(false))
    }
}

/// Drops what no longer counts, or else the oldest.
fn forget(failures: &mut HashMap<[u8; 32], Failures>, now: OffsetDateTime) {
    failures.retain(|_, entry| entry.since + WINDOW > now);
    if failures.len() < MAX_REMEMBERED {
        return;
    }
    let oldest = failures
        .iter()
        .min_by_key(|(_, entry)| entry.since)
        .map(|(key, _)| *key);
    if let Some(oldest) = oldest {
        failures.remove(&oldest);
    }
}

fn key(email: &str, address: Option<IpAddr>) -> [u8; 32] {
    let address = address.map_or_else(String::new, |address| address.to_string());
    Sha256::digest(format!("{address} {email}")).into()
}

fn verify(password: &str, hash: Option<&str>) -> bool {
    use argon2::password_hash::PasswordVerifier as _;
    let Some(hash) = hash.and_then(|hash| PasswordHash::new(hash).ok()) else {
        let mut output = [0; 32];
        let _ = Argon2::default().hash_password_into(password.as_bytes(), b"nobody's own salt", &mut output);
        return false;
    };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}

/// Argon2id with its recommended cost and a fresh salt, as a PHC string; off the async threads.
pub(super) async fn hash(random: &Random, password: Zeroizing<String>) -> anyhow::Result<String> {
    let salt: [u8; 16] = random.bytes();
    let hashed = tokio::task::spawn_blocking(move || {
        let hash: Result<PasswordHash, _> = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
        hash.map(|hash| hash.to_string())
    });
    hashed
        .await?
        .map_err(|error| anyhow::anyhow!("a password does not hash: {error}"))
}

/// A password that nobody has to invent.
pub(super) fn random_password(random: &Random) -> Zeroizing<String> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789-_.+*=@";
    let bytes = Zeroizing::new(random.bytes::<RANDOM_LEN>());
    Zeroizing::new(
        bytes
            .iter()
            .map(|byte| char::from(LETTERS[usize::from(byte & 63)]))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-08-20 10:00 UTC);

    #[test]
    fn guesses_end_at_the_limit_and_begin_again_after_the_window() {
        let gate = SignIns::default();
        for _ in 0..MAX_FAILURES {
            gate.admit("a@x.io", None, NOW).unwrap();
        }
        assert_eq!(gate.admit("a@x.io", None, NOW), Err(Refused::TooManyFailures));
        gate.admit("b@x.io", None, NOW).unwrap();
        gate.admit("a@x.io", Some(IpAddr::from([127, 0, 0, 1])), NOW).unwrap();
        gate.admit("a@x.io", None, NOW + WINDOW).unwrap();
    }

    #[test]
    fn a_right_password_clears_the_count() {
        let gate = SignIns::default();
        for _ in 0..100 {
            gate.admit("a@x.io", None, NOW).unwrap();
            gate.succeeded("a@x.io", None);
        }
    }

    #[test]
    fn the_memory_of_failures_is_bounded() {
        let gate = SignIns::default();
        for at in 0..MAX_REMEMBERED + 50 {
            gate.admit(&format!("{at}@x.io"), None, NOW).unwrap();
        }
        assert_eq!(gate.0.failures.lock().unwrap().len(), MAX_REMEMBERED);
    }
}
