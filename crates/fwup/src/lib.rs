//! The `.fw` firmware format.
