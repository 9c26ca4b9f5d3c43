//! The `.fw` firmware format: read, verify, sign, create and apply, streaming.
//!
//! An archive is read once, front to back, from anything that implements [`std::io::Read`]; the ZIP central directory
//! is never consulted. Memory stays bounded whatever the archive says. The crate does no networking and never looks at the
//! process environment: what `${NAME}` may mean is in [`Env`], and what firmware may reach outside of the target is up to a
//! [`Host`], which is not there unless the caller has one. Where there are two cores, large resources are inflated in a thread
//! of their own, which ends with the call; see [`Archive::in_one_thread`].
//!
//! ```no_run
//! use muster_fwup::{ApplyOptions, Archive, Env, FileTarget, PublicKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key: PublicKey = "NpjkAsCCtnGM7+CqyHNlpdMXpf/HF4bGxY6LSsgmHh0=".parse()?;
//! let archive = Archive::open(std::fs::File::open("kiosk.fw")?, &[key], &Env::new())?;
//! let mut disk = FileTarget::open("/dev/sda")?;
//! archive.apply(&mut disk, "upgrade", &ApplyOptions::default(), &mut |event| println!("{event:?}"))?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod apply;
mod archive;
pub mod caps;
mod cipher;
mod create;
mod delta;
mod env;
mod error;
mod fat;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gpt;
mod keys;
mod mbr;
mod metaconf;
mod metadata;
mod nickname;
#[cfg(test)]
mod round_trips;
mod sign;
mod target;
pub mod uboot_env;
mod vcdiff;
mod version;
mod zip;

pub use apply::{Applied, ApplyOptions, Event, Host, HostSink, Outlet};
pub use archive::{Archive, ResourceInfo, Signature, Verified};
pub use create::{CreateOptions, create, create_from_str};
pub use delta::{DeltaChoice, DeltaOptions, DeltaReport, DeltaResource, delta};
pub use env::Env;
pub use error::{Error, ErrorKind};
pub use keys::{KeyError, PrivateKey, PublicKey};
pub use metadata::{Metadata, parse_date};
pub use sign::{SignOptions, sign, sign_with};
pub use target::{BlockTarget, FileTarget, MemoryTarget};

/// The level of the format that is read, applied and made, deltas of all kinds included: what `require-fwup-version` is
/// compared with, and what an agent reports to a server, which decides by it what it may send (format §10).
pub const FWUP_VERSION: &str = "1.16.0";
