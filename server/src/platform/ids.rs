//! Typed ids: UUID version 7, one newtype a concept, made by [`declare_id!`](crate::declare_id).

use uuid::Uuid;

use super::clock::Clock;
use super::random::Random;

/// What every id is.
pub trait Id: Sized {
    /// A new id of this moment.
    fn from_parts(clock: &Clock, random: &Random) -> Self;

    /// The UUID without its meaning.
    fn uuid(self) -> Uuid;
}

/// A UUID version 7 of this moment.
pub fn new_uuid(clock: &Clock, random: &Random) -> Uuid {
    let millis = (clock.now().unix_timestamp_nanos() / 1_000_000).unsigned_abs() as u64;
    uuid::Builder::from_unix_timestamp_millis(millis, &random.bytes()).into_uuid()
}

/// Not greater than any [`new_uuid`] of this time or later, and greater than any before.
pub fn first_uuid_at(at: time::OffsetDateTime) -> Uuid {
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid()
}

/// Declares an id type around [`Uuid`].
#[macro_export]
macro_rules! declare_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize, serde::Deserialize,
        )]
        #[sqlx(transparent)]
        #[serde(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $crate::platform::ids::Id for $name {
            fn from_parts(clock: &$crate::platform::clock::Clock, random: &$crate::platform::random::Random) -> Self {
                Self($crate::platform::ids::new_uuid(clock, random))
            }

            fn uuid(self) -> uuid::Uuid {
                self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}
