//! What server and device say to each other.
