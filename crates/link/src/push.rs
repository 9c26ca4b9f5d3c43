//! What a server may tell a device, on whichever topic.

use crate::{Encoding, FrameError, Message, Ref, ToConsole, ToDevice, ToExtensions, Topic};

/// A push of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// On the topic `device`.
    Device(ToDevice),
    /// On the topic `console`.
    Console(ToConsole),
    /// On the topic `extensions`.
    Extensions(ToExtensions),
}

impl Push {
    /// The topic that it belongs to.
    pub fn topic(&self) -> Topic {
        match self {
            Self::Device(_) => Topic::Device,
            Self::Console(_) => Topic::Console,
            Self::Extensions(_) => Topic::Extensions,
        }
    }

    /// The message, with the join of its topic.
    ///
    /// # Errors
    /// Never for a value of this type.
    pub fn encode(&self, encoding: Encoding, join_ref: Option<&Ref>) -> Result<Message, FrameError> {
        match self {
            Self::Device(message) => message.encode(encoding, join_ref),
            Self::Console(message) => message.encode(encoding, join_ref),
            Self::Extensions(message) => message.encode(encoding, join_ref),
        }
    }
}

impl From<ToDevice> for Push {
    fn from(message: ToDevice) -> Self {
        Self::Device(message)
    }
}

impl From<ToConsole> for Push {
    fn from(message: ToConsole) -> Self {
        Self::Console(message)
    }
}

impl From<ToExtensions> for Push {
    fn from(message: ToExtensions) -> Self {
        Self::Extensions(message)
    }
}
