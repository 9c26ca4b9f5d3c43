//! The embedded Postgres cluster of `up`.
