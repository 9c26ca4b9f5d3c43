//! What server and device say to each other over the device's websocket: the link.
//!
//! The protocol is NervesHub's device link, so that devices built for NervesHub connect unchanged. One websocket carries
//! up to three topics; a [`Frame`] is one message on it. [`ToDevice`] and [`FromDevice`] are the typed messages of the
//! topic `device`. Everything here is pure: no I/O, no clock, no allocation beyond the frame that was given.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod device;
mod frame;
mod join;
mod lenient;
pub mod limits;
mod message;
mod status;
mod version;

pub use device::{FirmwareMeta, FromDevice, PublicKeys, Stage, ToDevice, Update};
pub use frame::{Frame, FrameError, Ref, Reply, Topic, push, reply};
pub use join::{FirmwareReport, Join, JoinMeta};
pub use message::{Encoding, Message};
pub use status::StatusUpdate;
pub use version::DeviceApiVersion;
