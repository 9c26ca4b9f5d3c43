//! The proof that a job of the server itself is asking, across tenants.

/// Held by jobs and batches, which serve every org at once. Store functions that take it stand in `store/sweep.rs`.
#[derive(Debug, Clone, Copy)]
pub struct Sweep(());

impl Sweep {
    /// Made by `lifecycle` for the server's own jobs, and by the command line for the server's owner.
    pub fn of_the_server() -> Self {
        Self(())
    }
}
