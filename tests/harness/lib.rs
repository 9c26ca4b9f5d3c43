//! The harness of the system tests.
