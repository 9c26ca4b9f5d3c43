//! What wakes the nodes when there is news: NOTIFY of the database, or a subject of NATS. It says nothing but "look".

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use sqlx::PgPool;
use sqlx::postgres::PgListener;

/// The channel of Postgres.
const CHANNEL: &str = "muster_events";
/// The subject of NATS. Installations that share it wake each other for a look and nothing else.
const SUBJECT: &str = "muster.events";
/// A ring that NATS does not take in this time is given up: the nodes look by themselves.
const RING: Duration = Duration::from_secs(2);
/// Rings that wait while NATS is away; one says as much as many.
const WAITING_MAX: usize = 64;

/// What wakes the nodes.
#[derive(Debug, Clone, Default)]
pub enum Bell {
    /// LISTEN and NOTIFY of the database.
    #[default]
    Postgres,
    /// A subject of NATS.
    Nats(async_nats::Client),
}

/// Why a bell could not be rung or heard.
#[derive(Debug, thiserror::Error)]
pub enum BellError {
    /// Of Postgres.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    /// Of NATS.
    #[error("NATS: {0}")]
    Nats(String),
}

/// Where a NATS server is.
#[derive(Clone)]
pub struct NatsUrl(async_nats::ServerAddr);

impl std::fmt::Debug for NatsUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "NatsUrl({}:{})", self.0.host(), self.0.port())
    }
}

impl std::str::FromStr for NatsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fix = "Give nats://host:4222, tls://host:4222, or with a user in front of the host.";
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        match (scheme, text.parse()) {
            (Some("nats" | "tls"), Ok(addr)) => Ok(Self(addr)),
            // The text is not repeated: it may hold a password.
            _ => Err(format!("is no URL of a NATS server. {fix}")),
        }
    }
}

impl Bell {
    /// A bell of NATS. It connects in the background, now and after every loss; until then the nodes look by themselves.
    ///
    /// # Errors
    /// When the connection cannot even be begun.
    pub async fn nats(url: NatsUrl) -> Result<Self, BellError> {
        let options = async_nats::ConnectOptions::new()
            .name("muster-server")
            .retry_on_initial_connect()
            .client_capacity(WAITING_MAX)
            .event_callback(|event| async move {
                match event {
                    async_nats::Event::Connected => tracing::info!("connected to NATS"),
                    other => tracing::warn!(event = %other, "NATS; nodes look for news by themselves meanwhile"),
                }
            });
        let client = options.connect(url.0).await;
        Ok(Self::Nats(client.map_err(|error| BellError::Nats(error.to_string()))?))
    }

    /// Wakes every node.
    ///
    /// # Errors
    /// When it cannot be rung now; the nodes look by themselves a little later.
    pub async fn ring(&self, db: &PgPool) -> Result<(), BellError> {
        match self {
            Self::Postgres => {
                sqlx::query("SELECT pg_notify($1, '')")
                    .bind(CHANNEL)
                    .execute(db)
                    .await?;
                Ok(())
            }
            Self::Nats(client) => {
                let rung = tokio::time::timeout(RING, client.publish(SUBJECT, Bytes::new())).await;
                let rung = rung.map_err(|_| BellError::Nats("it does not take anything now".to_owned()))?;
                rung.map_err(|error| BellError::Nats(error.to_string()))
            }
        }
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// When there is nothing to listen to now.
    pub async fn listen(&self, db: &PgPool) -> Result<Ear, BellError> {
        match self {
            Self::Postgres => {
                let mut listener = PgListener::connect_with(db).await?;
                listener.listen(CHANNEL).await?;
                Ok(Ear::Postgres(Box::new(listener)))
            }
            Self::Nats(client) => {
                let subscriber = client.subscribe(SUBJECT).await;
                let subscriber = subscriber.map_err(|error| BellError::Nats(error.to_string()))?;
                Ok(Ear::Nats(Box::new(subscriber)))
            }
        }
    }
}

/// What hears the bell.
#[derive(Debug)]
pub enum Ear {
    /// Of Postgres.
    Postgres(Box<PgListener>),
    /// Of NATS.
    Nats(Box<async_nats::Subscriber>),
}

impl Ear {
    /// Waits for the next ring.
    ///
    /// # Errors
    /// When none can come any more.
    pub async fn heard(&mut self) -> Result<(), BellError> {
        match self {
            Self::Postgres(listener) => {
                listener.recv().await?;
                Ok(())
            }
            Self::Nats(subscriber) => match subscriber.next().await {
                Some(_) => Ok(()),
                None => Err(BellError::Nats("the subscription ended".to_owned())),
            },
        }
    }
}
