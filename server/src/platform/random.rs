//! Chance is an argument: whoever needs it holds a [`Random`].

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// The cryptographic random source.
#[derive(Debug, Clone)]
pub struct Random(SystemRandom);

impl Random {
    /// The system's source.
    pub fn system() -> Self {
        Self(SystemRandom::new())
    }

    /// `N` random bytes. The system's source does not fail once the process runs; if it ever did, zeros are refused by
    /// ending the process rather than handed out as a secret.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        if self.0.fill(&mut bytes).is_err() {
            tracing::error!("the system's random source failed");
            std::process::abort();
        }
        bytes
    }
}
