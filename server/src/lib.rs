//! The Muster fleet-management server.
