//! The Muster fleet-management server.
//!
//! The rooms form a line; a room's model, store and service call only rooms before it: audit, accounts, products, keys,
//! packages, firmware, archives, ca, devices, deployments, links. Pages and api are a second storey over all of them, reached only by routes.

pub mod accounts;
pub mod app;
pub mod archives;
pub mod audit;
pub mod ca;
pub mod cli;
pub mod config;
pub mod deployments;
pub mod device_server;
pub mod devices;
pub mod firmware;
pub mod keys;
pub mod lifecycle;
pub mod links;
pub mod listeners;
pub mod packages;
pub mod platform;
pub mod products;
pub mod routes;
pub mod telemetry;
#[cfg(test)]
pub mod testing;
pub mod web;
