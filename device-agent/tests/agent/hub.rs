//! The server's side of the link: answers joins and heartbeats, records the rest, pushes what the test wants.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use muster_link::{Frame, FromDevice, Join, Reply, StatusUpdate, ToDevice, Topic, reply};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::certs::Certs;

/// No wait takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct Hub {
    pub(crate) url: String,
    heard: mpsc::UnboundedReceiver<FromDevice>,
    shared: Shared,
}

#[derive(Clone)]
struct Shared {
    tell: mpsc::UnboundedSender<FromDevice>,
    /// The newest connection.
    current: Arc<Mutex<Option<mpsc::UnboundedSender<Message>>>>,
    /// The firmware that every device which joins is to run.
    rollout: Arc<Mutex<Option<(String, ToDevice)>>>,
}

impl Hub {
    pub(crate) async fn start(certs: &Certs) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(certs.server(true));
        let (tell, heard) = mpsc::unbounded_channel();
        let shared = Shared {
            tell,
            current: Arc::default(),
            rollout: Arc::default(),
        };
        let serving = shared.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, acceptor.clone(), serving.clone()));
            }
        });
        Self { url, heard, shared }
    }

    fn send(&self, message: Message) {
        let current = self.shared.current.lock().unwrap();
        // A device that is gone hears nothing.
        let _ = current.as_ref().unwrap().send(message);
    }

    pub(crate) fn push(&self, message: &ToDevice) {
        self.send(Message::text(message.write(None).unwrap()));
    }

    /// From now on every device that joins with other firmware, and is not busy, is told this.
    pub(crate) fn roll_out(&self, uuid: &str, message: ToDevice) {
        *self.shared.rollout.lock().unwrap() = Some((uuid.to_owned(), message));
    }

    pub(crate) fn push_text(&self, text: &str) {
        self.send(Message::text(text));
    }

    pub(crate) fn ping(&self) {
        self.send(Message::Ping("ping".into()));
    }

    pub(crate) fn close(&self) {
        self.send(Message::Close(None));
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> FromDevice {
        tokio::time::timeout(DEADLINE, self.heard.recv())
            .await
            .expect("a message in time")
            .unwrap()
    }

    /// The next join; what comes before is skipped.
    pub(crate) async fn join(&mut self) -> Join {
        loop {
            if let FromDevice::Join(join) = self.hear().await {
                return *join;
            }
        }
    }

    /// The next status; progress before it is skipped.
    pub(crate) async fn status(&mut self) -> StatusUpdate {
        loop {
            match self.hear().await {
                FromDevice::Status(status) => return status,
                FromDevice::Progress { .. } | FromDevice::FirmwareValidated => {}
                other => panic!("{other:?} instead of a status"),
            }
        }
    }

    pub(crate) async fn failure(&mut self) -> String {
        loop {
            match self.status().await {
                StatusUpdate::Failed { reason } => return reason,
                StatusUpdate::Received | StatusUpdate::Started => {}
                other => panic!("{other:?} instead of a failure"),
            }
        }
    }

    /// Waits for the end of an update, whatever joins happen on the way.
    pub(crate) async fn completed(&mut self) {
        loop {
            match self.hear().await {
                FromDevice::Status(StatusUpdate::Completed) => return,
                FromDevice::Status(StatusUpdate::Failed { reason }) => panic!("failed: {reason}"),
                _ => {}
            }
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Shared) {
    // A device that is killed in its handshake is no failure of the test.
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    assert!(stream.get_ref().1.peer_certificates().is_some());
    let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
        return;
    };
    let (sender, mut pushes) = mpsc::unbounded_channel();
    *shared.current.lock().unwrap() = Some(sender);
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    if !hear(&mut socket, &text, &shared).await {
                        return;
                    }
                }
                Some(Ok(Message::Pong(_))) => drop(shared.tell.send(FromDevice::Unknown)),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            Some(message) = pushes.recv() => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn hear(socket: &mut WebSocketStream<TlsStream<TcpStream>>, text: &str, shared: &Shared) -> bool {
    let frame = Frame::parse(text).unwrap();
    let message = FromDevice::read(&frame);
    let heartbeat = frame.topic() == Topic::Phoenix;
    let mut answers = Vec::new();
    if heartbeat || matches!(message, FromDevice::Join(_)) {
        let empty = serde_json::Map::new();
        let (join_ref, reference) = (frame.join_ref.as_ref(), frame.reference.as_ref());
        answers.push(reply(join_ref, reference, &frame.topic, Reply::Ok, &empty).unwrap());
    }
    if let FromDevice::Join(join) = &message {
        answers.extend(shared.told(join));
    }
    for answer in answers {
        if socket.send(Message::text(answer)).await.is_err() {
            return false;
        }
    }
    heartbeat || shared.tell.send(message).is_ok()
}

impl Shared {
    fn told(&self, join: &Join) -> Option<String> {
        let rollout = self.rollout.lock().unwrap();
        let (uuid, update) = rollout.as_ref()?;
        let wanted = join.firmware.uuid.as_ref() != Some(uuid) && join.busy_with().is_none();
        wanted.then(|| update.write(None).unwrap())
    }
}
