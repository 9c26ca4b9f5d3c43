//! System tests: a real server with a real Postgres, real TLS, real agents on virtual boards.

mod archives;
mod behaviours;
mod by_hand;
mod credentials;
mod extensions;
mod frames;
mod hostile;
mod nodes;
mod power;
mod presence;
mod refusals;
mod rollout;
mod tidy;
mod transcripts;
