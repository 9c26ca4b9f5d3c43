//! The link to the server: dialled again for ever, one connection at a time.
//!
//! The link runs as a task. It tells [`Event`]s and takes [`Command`]s; what a connection says and when is decided in
//! [`session`], without I/O.

pub mod backoff;
mod dial;
pub mod session;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::Uri;
use muster_link::{Encoding, FromDevice, Message, Push, StatusUpdate, Topic};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message as Raw;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use self::backoff::{Backoff, Why};
use self::dial::{Opened, Socket};
pub use self::session::Say;
use self::session::{Effect, Session};
use crate::identity::Identity;

/// Commands that wait for the link; a full queue drops progress, never memory.
const COMMANDS_MAX: usize = 64;
/// A peer that does not take a frame for this long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// A goodbye is not worth more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the link tells.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// It could not be opened, for this reason.
    NotOpened(String),
    /// It is open.
    Opened {
        /// From this address of the device.
        local: Option<IpAddr>,
        /// By the certificate of this file.
        cert: Option<Arc<Path>>,
    },
    /// It is open, or the topic was lost; answer with the topic's join.
    NeedJoin(Topic),
    /// The server has us on this topic.
    Joined(Topic),
    /// The connection is gone, for this reason.
    Lost(String),
    /// The server says this.
    Push(Push),
    /// The status of [`Command::Deliver`] was written.
    Delivered,
}

/// What the link is told.
#[derive(Debug)]
pub enum Command {
    /// Say this: a join always, anything else if joined.
    Send(Say),
    /// Say this, if joined, and tell.
    Deliver(StatusUpdate),
    /// Join anew on the connection that stands.
    Rejoin,
    /// Drop the connection, or the wait for the next attempt, and dial at once.
    Reconnect,
    /// Say goodbye and end; answered when done.
    Close(oneshot::Sender<()>),
}

/// Where and how to dial.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// The server's URL.
    pub url: Uri,
    /// Who the device is.
    pub identity: Arc<Identity>,
    /// How messages are written.
    pub encoding: Encoding,
    /// Base delays between attempts.
    pub backoff: Vec<Duration>,
    /// The delay between attempts while there is no network.
    pub without_network: Duration,
    /// How often a heartbeat is sent.
    pub heartbeat: Duration,
}

/// Why a connection is over.
#[derive(Debug)]
struct Over {
    reason: String,
    why: Why,
}

impl Over {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            why: Why::Failed,
        }
    }
}

/// A handle to the link's task.
#[derive(Debug)]
pub struct Link {
    commands: mpsc::Sender<Command>,
}

/// A way to say something that waits until the link takes it, for who has much to say.
#[derive(Debug, Clone)]
pub struct Voice {
    commands: mpsc::Sender<Command>,
}

impl Voice {
    /// Says something; false where the link has ended.
    pub async fn say(&self, say: impl Into<Say>) -> bool {
        self.commands.send(Command::Send(say.into())).await.is_ok()
    }

    /// A voice that is heard by `commands` and nobody else.
    #[cfg(test)]
    pub(crate) fn to(commands: mpsc::Sender<Command>) -> Self {
        Self { commands }
    }
}

impl Link {
    /// A way to say something that waits.
    pub fn voice(&self) -> Voice {
        Voice {
            commands: self.commands.clone(),
        }
    }

    /// Starts the task.
    pub fn start(settings: LinkSettings, events: mpsc::Sender<Event>) -> Self {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let task = Task {
            settings,
            events,
            commands,
        };
        tokio::spawn(task.run());
        Self { commands: sender }
    }

    /// Tells the link something; what does not fit its queue is dropped.
    pub fn tell(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::warn!("link is too busy, message dropped");
        }
    }

    /// Whether its task runs.
    pub fn is_alive(&self) -> bool {
        !self.commands.is_closed()
    }

    /// Says goodbye, if there is a connection.
    pub async fn close(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.try_send(Command::Close(done)).is_ok() {
            // Either the goodbye was said or its time is up.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT * 2, wait).await;
        }
    }
}

struct Task {
    settings: LinkSettings,
    events: mpsc::Sender<Event>,
    commands: mpsc::Receiver<Command>,
}

impl Task {
    async fn run(mut self) {
        let mut backoff = Backoff::new(self.settings.backoff.clone(), self.settings.without_network);
        while self.once(&mut backoff).await.is_continue() {}
    }

    /// One attempt and what comes of it, and the pause after it; breaks when the agent ends.
    async fn once(&mut self, backoff: &mut Backoff) -> ControlFlow<()> {
        let why = match self.dial().await? {
            Ok(Opened { socket, local, cert }) => {
                backoff.reset();
                tracing::info!(server.url = %self.settings.url, "link open");
                self.tell(Event::Opened { local, cert }).await?;
                let over = self.serve(Box::new(socket)).await?;
                tracing::info!(reason = over.reason, "link lost");
                self.tell(Event::Lost(over.reason)).await?;
                over.why
            }
            Err(cause) => {
                tracing::warn!(server.url = %self.settings.url, error = %cause, "link not opened");
                self.tell(Event::NotOpened(cause.to_string())).await?;
                cause.why()
            }
        };
        let delay = backoff.next(backoff::chance(), why);
        tracing::debug!(delay_ms = crate::clock::millis(delay), "link will be dialled again");
        self.pause(delay).await
    }

    async fn dial(&mut self) -> ControlFlow<(), Result<Opened, dial::DialError>> {
        let (url, identity) = (self.settings.url.clone(), Arc::clone(&self.settings.identity));
        let mut dialling = Box::pin(dial::dial(&url, &identity));
        loop {
            tokio::select! {
                result = &mut dialling => return ControlFlow::Continue(result),
                command = self.commands.recv() => {
                    // It is being dialled already.
                    let _ = unconnected(command)?;
                }
            }
        }
    }

    async fn pause(&mut self, delay: Duration) -> ControlFlow<()> {
        let sleep = tokio::time::sleep(delay);
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                () = &mut sleep => return ControlFlow::Continue(()),
                command = self.commands.recv() => {
                    if unconnected(command)? == Unconnected::DialNow {
                        return ControlFlow::Continue(());
                    }
                }
            }
        }
    }

    async fn tell(&self, event: Event) -> ControlFlow<()> {
        match self.events.send(event).await {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    /// Keeps one connection; breaks when the agent ends.
    async fn serve(&mut self, mut socket: Box<Socket>) -> ControlFlow<(), Over> {
        let settings = &self.settings;
        let (mut session, first) = Session::open(settings.encoding, settings.heartbeat, Instant::now());
        let mut over = self.perform(&mut socket, first).await?;
        loop {
            if let Some(over) = over {
                return ControlFlow::Continue(over);
            }
            let due = session.due().into();
            over = tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Raw::Close(frame))) => Some(closed(frame.as_ref())),
                    Some(Ok(raw)) => {
                        let said = said(raw);
                        let effect = said.and_then(|said| session.receive(&said, Instant::now()));
                        self.perform(&mut socket, effect).await?
                    }
                    Some(Err(cause)) => Some(Over::new(cause.to_string())),
                    None => Some(Over::new("the server hung up")),
                },
                command = self.commands.recv() => self.command(&mut session, &mut socket, command).await?,
                () = tokio::time::sleep_until(due) => {
                    let effects = session.tick(Instant::now());
                    self.perform(&mut socket, effects).await?
                }
            };
        }
    }

    async fn command(
        &mut self,
        session: &mut Session,
        socket: &mut Socket,
        command: Option<Command>,
    ) -> ControlFlow<(), Option<Over>> {
        match command {
            None => ControlFlow::Break(()),
            Some(Command::Send(say)) => self.perform(socket, session.send(&say, Instant::now())).await,
            Some(Command::Reconnect) => ControlFlow::Continue(Some(Over::new("a reconnect was asked for"))),
            Some(Command::Rejoin) => self.perform(socket, [Effect::NeedJoin(Topic::Device)]).await,
            Some(Command::Deliver(status)) => {
                let Some(write) = session.send(&FromDevice::Status(status).into(), Instant::now()) else {
                    return ControlFlow::Continue(None);
                };
                let failed = self.perform(socket, Some(write)).await?;
                if failed.is_none() {
                    self.tell(Event::Delivered).await?;
                }
                ControlFlow::Continue(failed)
            }
            Some(Command::Close(done)) => {
                // A server that does not answer the goodbye is left anyway.
                let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.close(None)).await;
                let _ = done.send(());
                ControlFlow::Break(())
            }
        }
    }

    /// Does what the session wants; returns why the connection is over, if it is.
    async fn perform(
        &self,
        socket: &mut Socket,
        effects: impl IntoIterator<Item = Effect>,
    ) -> ControlFlow<(), Option<Over>> {
        for effect in effects {
            match effect {
                Effect::Write(message) => {
                    if let Some(over) = write(socket, message).await {
                        return ControlFlow::Continue(Some(over));
                    }
                }
                Effect::NeedJoin(topic) => self.tell(Event::NeedJoin(topic)).await?,
                Effect::Joined(topic) => self.tell(Event::Joined(topic)).await?,
                Effect::Push(push) => self.tell(Event::Push(push)).await?,
                Effect::Refused(topic, reason) => tracing::warn!(topic = topic.name(), reason, "join refused"),
                Effect::Dead(reason) => return ControlFlow::Continue(Some(Over::new(reason))),
            }
        }
        ControlFlow::Continue(None)
    }
}

/// What a websocket message says; pings and their like are tungstenite's business.
fn said(raw: Raw) -> Option<Message> {
    match raw {
        Raw::Text(text) => Some(Message::Text(text.as_str().to_owned())),
        Raw::Binary(bytes) => Some(Message::Binary(bytes.into())),
        Raw::Ping(_) | Raw::Pong(_) | Raw::Close(_) | Raw::Frame(_) => None,
    }
}

async fn write(socket: &mut Socket, message: Message) -> Option<Over> {
    let raw = match message {
        Message::Text(text) => Raw::text(text),
        Message::Binary(bytes) => Raw::binary(bytes),
    };
    match tokio::time::timeout(WRITE_TIMEOUT, socket.send(raw)).await {
        Ok(Ok(())) => None,
        Ok(Err(cause)) => Some(Over::new(cause.to_string())),
        Err(_) => Some(Over::new("the server takes nothing any more")),
    }
}

fn closed(frame: Option<&CloseFrame>) -> Over {
    let Some(frame) = frame else {
        return Over::new("the server closed the connection");
    };
    Over {
        reason: format!("the server closed the connection: {} {}", frame.code, frame.reason),
        why: backoff::asked(frame.code.into(), &frame.reason),
    }
}

/// What a command means while there is no connection.
#[derive(Debug, PartialEq, Eq)]
enum Unconnected {
    DialNow,
    Nothing,
}

/// Without a connection nothing can be said; breaks when the agent ends.
fn unconnected(command: Option<Command>) -> ControlFlow<(), Unconnected> {
    match command {
        None => ControlFlow::Break(()),
        Some(Command::Close(done)) => {
            let _ = done.send(());
            ControlFlow::Break(())
        }
        Some(Command::Reconnect) => ControlFlow::Continue(Unconnected::DialNow),
        Some(Command::Send(_) | Command::Deliver(_) | Command::Rejoin) => ControlFlow::Continue(Unconnected::Nothing),
    }
}
