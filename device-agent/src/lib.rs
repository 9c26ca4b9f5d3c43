//! The Muster device agent: connects, updates, reboots, comes back, validates.
//!
//! The rooms: [`config`] and [`identity`] say who the device is, [`renewal`] keeps that from ending; [`platform`] is what it
//! runs on; [`link`] talks to the server; [`update`] and [`policy`] decide about firmware and apply it; [`archives`],
//! [`scripts`], [`console`] and [`extensions`] are what stands beside it, as the configuration wants;
//! [`control`] and [`notify`] speak with the device's own system; [`event_loop`] ties them together. What decides is free
//! of I/O ([`update::machine`], [`update::resolve`], [`link::session`]), what acts decides nothing.
//!
//! A product that needs more than programs in the configuration is a program of its own: it calls
//! [`event_loop::run`] with its [`hooks::Custom`], and [`terminal::take_over`] where its first argument is `on-terminal`.
#![forbid(unsafe_code)]

pub mod archives;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod control;
pub mod duration;
pub mod event_loop;
pub mod extensions;
pub mod health;
pub mod hooks;
pub mod identity;
pub mod link;
pub mod net;
pub mod notify;
pub mod platform;
pub mod policy;
pub mod program;
pub mod renewal;
pub mod scripts;
pub mod terminal;
pub mod update;

/// How the agent names itself in HTTP requests.
pub const USER_AGENT: &str = concat!("MusterAgent/", env!("CARGO_PKG_VERSION"));
