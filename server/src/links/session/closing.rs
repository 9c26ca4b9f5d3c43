//! Why a link is closed from our side.

/// Why a link is closed from our side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// A message that is none of the protocol.
    Malformed,
    /// A message over the limit.
    TooLarge,
    /// The device opened a newer link.
    Replaced,
    /// The device was deleted, moved, or lost its credential.
    Cut,
    /// An operator asked the device to connect anew.
    Asked,
    /// Nothing came for too long.
    Idle,
    /// The link's queue is full.
    Overloaded,
    /// The device does not take what it is sent.
    SlowReader,
    /// The device sends more than it may, and does not stop.
    Flooding,
    /// The server stops.
    Drain,
}

impl Closing {
    /// The constant word for figures and history.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Replaced => "replaced",
            Self::Cut => "cut",
            Self::Asked => "asked",
            Self::Idle => "idle",
            Self::Overloaded => "overloaded",
            Self::SlowReader => "slow_reader",
            Self::Flooding => "flooding",
            Self::Drain => "server_stopped",
        }
    }

    /// The websocket close code (device-link §1.3).
    pub fn code(self) -> u16 {
        match self {
            Self::Malformed => 1007,
            Self::TooLarge => 1009,
            Self::Replaced | Self::Cut | Self::Asked => 1001,
            Self::Idle => 1002,
            Self::Overloaded | Self::SlowReader => 1013,
            Self::Flooding => 1008,
            Self::Drain => 1012,
        }
    }
}
