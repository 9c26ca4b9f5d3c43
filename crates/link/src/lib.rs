//! What server and device say to each other over the device's websocket: the link.
//!
//! The protocol is NervesHub's device link, so that devices built for NervesHub connect unchanged. One websocket carries
//! up to three topics; a [`Frame`] is one message on it, in one of two [`Encoding`]s. Of each topic one type holds what a
//! device says and one what a server says: [`FromDevice`] and [`ToDevice`], [`FromConsole`] and [`ToConsole`],
//! [`FromExtensions`] and [`ToExtensions`]. [`credential`] is how a device without a certificate proves who it is.
//! Everything here is pure: no I/O, no clock, no allocation beyond a multiple of the frame that was given.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod console;
pub mod credential;
mod device;
mod extensions;
mod frame;
mod join;
mod lenient;
pub mod limits;
mod message;
mod msgpack;
mod push;
mod script;
mod status;
mod update;
mod version;

pub use console::{ConsoleJoin, FileChunk, FileMark, FromConsole, ToConsole};
pub use device::{FromDevice, Stage, ToDevice};
pub use extensions::{
    Check, Extension, ExtensionSet, Fix, FromExtensions, HealthReport, HealthStatus, Identity, IdentityService,
    Interface, Location, LogLine, Names, Offers, ShellStatus, ToExtensions,
};
pub use frame::{Frame, FrameError, Payload, Ref, Reply, Topic, push, reply};
pub use join::{FirmwareReport, Join, JoinMeta};
pub use message::{Encoding, Message};
pub use msgpack::MessagePackError;
pub use push::Push;
pub use script::{Completion, Script, ScriptResult};
pub use status::StatusUpdate;
pub use update::{Archive, FirmwareMeta, PublicKeys, Update};
pub use version::DeviceApiVersion;
