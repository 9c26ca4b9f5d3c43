//! What one websocket message carries, and which of the two serialisations it is in (device-link §2).

/// One websocket message as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A text message: JSON.
    Text(String),
    /// A binary message: MessagePack.
    Binary(Vec<u8>),
}

impl Message {
    /// The text of a text message; of a binary one nothing.
    pub fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Binary(_) => String::new(),
        }
    }
}

/// The serialisation of a link, chosen by `vsn` in the upgrade's query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `vsn=2.0.0`: JSON in text messages, as every NervesHubLink speaks.
    #[default]
    Json,
    /// `vsn=3.0.0`: MessagePack in binary messages.
    MessagePack,
}

impl Encoding {
    /// The serialisation that a `vsn` asks for: `~> 2.0.0` or `~> 3.0.0`, else none (device-link §1.1).
    pub fn of_vsn(vsn: &str) -> Option<Self> {
        let version = semver::Version::parse(vsn).ok()?;
        match (version.major, version.minor, version.pre.is_empty()) {
            (2, 0, true) => Some(Self::Json),
            (3, 0, true) => Some(Self::MessagePack),
            _ => None,
        }
    }

    /// What a client writes as `vsn`.
    pub fn vsn(self) -> &'static str {
        match self {
            Self::Json => "2.0.0",
            Self::MessagePack => "3.0.0",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Encoding;

    #[test]
    fn only_the_two_levels_are_spoken() {
        assert_eq!(Encoding::of_vsn("2.0.0"), Some(Encoding::Json));
        assert_eq!(Encoding::of_vsn("2.0.7"), Some(Encoding::Json));
        assert_eq!(Encoding::of_vsn("3.0.0"), Some(Encoding::MessagePack));
        for vsn in ["", "1.0.0", "2.1.0", "4.0.0", "2", "3.0.0-rc", "two"] {
            assert_eq!(Encoding::of_vsn(vsn), None, "{vsn}");
        }
    }
}
