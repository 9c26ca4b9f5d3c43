//! The harness of system tests, demo and benchmarks: it speaks in actions, over real processes, real TLS, a real Postgres
//! and real firmware. Everything it starts ends with the value that stands for it.

pub mod api;
pub mod board;
pub mod certificates;
pub mod eventually;
pub mod firmware;
pub mod hostile;
pub mod nodes;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod server;
pub mod wire;
pub mod world;

pub use api::Api;
pub use board::{Board, Power};
pub use certificates::Authority;
pub use eventually::eventually;
pub use firmware::Kiosk;
pub use muster_agent::platform::slot::Behaviour;
pub use server::Server;
pub use world::World;
