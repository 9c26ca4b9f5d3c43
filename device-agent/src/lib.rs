//! The Muster device agent.
