//! The server's side of the link: answers joins and heartbeats, records the rest, pushes what the test wants.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use muster_agent::link::Say;
use muster_link::{
    Encoding, Frame, FromConsole, FromDevice, FromExtensions, Join, Message, Push, Ref, Reply, StatusUpdate, ToDevice,
    Topic,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Raw;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::certs::Certs;

/// No wait takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct Hub {
    pub(crate) url: String,
    heard: mpsc::UnboundedReceiver<FromDevice>,
    beside: mpsc::UnboundedReceiver<Say>,
    shared: Shared,
}

/// By which rules the server goes.
#[derive(Default)]
pub(crate) struct Rules {
    /// Devices need no certificate.
    pub(crate) no_certificate: bool,
    /// So the first upgrades are answered: status, header lines.
    pub(crate) refusals: Vec<(u16, Vec<(&'static str, String)>)>,
    /// The extensions that are attached; none at all are asked for where this is empty.
    pub(crate) extensions: Vec<&'static str>,
    /// Heartbeats are not answered.
    pub(crate) heartless: bool,
}

/// One upgrade request.
#[derive(Debug, Clone)]
pub(crate) struct Upgrade {
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The client certificate in DER, if there was one.
    pub(crate) certificate: Option<Vec<u8>>,
}

impl Upgrade {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(found, _)| found == name);
        header.map(|(_, value)| value.as_str())
    }
}

#[derive(Clone)]
struct Shared {
    tell: mpsc::UnboundedSender<FromDevice>,
    beside: mpsc::UnboundedSender<Say>,
    /// The newest connection.
    current: Arc<Mutex<Option<mpsc::UnboundedSender<Order>>>>,
    /// The firmware that every device which joins is to run.
    rollout: Arc<Mutex<Option<(String, ToDevice)>>>,
    upgrades: Arc<Mutex<Vec<Upgrade>>>,
    rules: Arc<Rules>,
    refusals: Arc<Mutex<VecDeque<ErrorResponse>>>,
}

enum Order {
    Raw(Raw),
    Push(Push),
}

impl Hub {
    pub(crate) async fn start_by(certs: &Certs, rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("wss://{}", listener.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(certs.server(!rules.no_certificate));
        let (tell, heard) = mpsc::unbounded_channel();
        let (beside_sender, beside) = mpsc::unbounded_channel();
        let refusals = rules.refusals.iter().map(|(status, headers)| refusal(*status, headers));
        let shared = Shared {
            tell,
            beside: beside_sender,
            current: Arc::default(),
            rollout: Arc::default(),
            upgrades: Arc::default(),
            refusals: Arc::new(Mutex::new(refusals.collect())),
            rules: Arc::new(rules),
        };
        let serving = shared.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, acceptor.clone(), serving.clone()));
            }
        });
        Self {
            url,
            heard,
            beside,
            shared,
        }
    }

    /// The upgrades that were asked for so far.
    pub(crate) fn upgrades(&self) -> Vec<Upgrade> {
        self.shared.upgrades.lock().unwrap().clone()
    }

    /// So the next upgrades are answered.
    pub(crate) fn refuse(&self, status: u16, count: usize) {
        let mut refusals = self.shared.refusals.lock().unwrap();
        refusals.extend((0..count).map(|_| refusal(status, &[])));
    }

    /// The next message that is wanted of those that have nothing to do with an update.
    pub(crate) async fn beside<T>(&mut self, wanted: impl Fn(Say) -> Option<T>) -> T {
        let hear = async {
            loop {
                if let Some(found) = wanted(self.beside.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, hear).await.expect("a message in time")
    }

    /// The next message on `extensions` that is wanted.
    pub(crate) async fn extension<T>(&mut self, wanted: impl Fn(FromExtensions) -> Option<T>) -> T {
        self.beside(|say| match say {
            Say::Extensions(message) => wanted(message),
            Say::Device(_) | Say::Console(_) => None,
        })
        .await
    }

    fn send(&self, order: Order) {
        let current = self.shared.current.lock().unwrap();
        // A device that is gone hears nothing.
        let _ = current.as_ref().unwrap().send(order);
    }

    pub(crate) fn push(&self, message: &ToDevice) {
        self.send(Order::Push(message.clone().into()));
    }

    pub(crate) fn push_beside(&self, push: impl Into<Push>) {
        self.send(Order::Push(push.into()));
    }

    /// From now on every device that joins with other firmware, and is not busy, is told this.
    pub(crate) fn roll_out(&self, uuid: &str, message: ToDevice) {
        *self.shared.rollout.lock().unwrap() = Some((uuid.to_owned(), message));
    }

    pub(crate) fn push_text(&self, text: &str) {
        self.send(Order::Raw(Raw::text(text)));
    }

    pub(crate) fn ping(&self) {
        self.send(Order::Raw(Raw::Ping("ping".into())));
    }

    pub(crate) fn close(&self) {
        self.send(Order::Raw(Raw::Close(None)));
    }

    pub(crate) fn close_with(&self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.send(Order::Raw(Raw::Close(Some(frame))));
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

fn refusal(status: u16, headers: &[(&'static str, String)]) -> ErrorResponse {
    let mut response = tokio_tungstenite::tungstenite::http::Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, value);
    }
    response.body(None).unwrap()
}

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn upgrade(stream: TcpStream, acceptor: TlsAcceptor, shared: &Shared) -> Option<(Socket, Encoding)> {
    // A device that is killed in its handshake is no failure of the test.
    let stream = acceptor.accept(stream).await.ok()?;
    let shown = stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec());
    assert!(shown.is_some() || shared.rules.no_certificate);
    let mut encoding = None;
    #[expect(clippy::result_large_err, reason = "the websocket library's own type")]
    let taken = |request: &Request, response: Response| {
        let text = |value: &tokio_tungstenite::tungstenite::http::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = request.headers().iter();
        shared.upgrades.lock().unwrap().push(Upgrade {
            uri: request.uri().to_string(),
            headers: headers.map(|(name, value)| (name.to_string(), text(value))).collect(),
            certificate: shown.clone(),
        });
        let vsn = request.uri().query().and_then(|query| query.strip_prefix("vsn="));
        encoding = vsn.and_then(Encoding::of_vsn);
        match shared.refusals.lock().unwrap().pop_front() {
            Some(refusal) => Err(refusal),
            None => Ok(response),
        }
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, taken).await.ok()?;
    Some((socket, encoding.expect("a framing")))
}

fn raw(message: Message) -> Raw {
    match message {
        Message::Text(text) => Raw::text(text),
        Message::Binary(bytes) => Raw::binary(bytes),
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Shared) {
    let Some((mut socket, encoding)) = upgrade(stream, acceptor, &shared).await else {
        return;
    };
    let (sender, mut orders) = mpsc::unbounded_channel();
    *shared.current.lock().unwrap() = Some(sender);
    loop {
        tokio::select! {
            message = socket.next() => {
                let message = match message {
                    Some(Ok(Raw::Text(text))) => Message::Text(text.to_string()),
                    Some(Ok(Raw::Binary(bytes))) => Message::Binary(bytes.to_vec()),
                    Some(Ok(Raw::Pong(_))) => {
                        let _ = shared.tell.send(FromDevice::Unknown);
                        continue;
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => return,
                };
                assert_eq!(encoding == Encoding::Json, matches!(message, Message::Text(_)));
                for answer in shared.hear(&message, encoding) {
                    if socket.send(raw(answer)).await.is_err() {
                        return;
                    }
                }
            }
            Some(order) = orders.recv() => {
                let message = match order {
                    Order::Raw(raw) => raw,
                    Order::Push(push) => raw(push.encode(encoding, None).unwrap()),
                };
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    }
}

impl Shared {
    /// Takes one message; gives the answers.
    fn hear(&self, message: &Message, encoding: Encoding) -> Vec<Message> {
        let frame = match message {
            Message::Text(text) => Frame::parse(text),
            Message::Binary(bytes) => Frame::parse_binary(bytes),
        };
        let frame = frame.unwrap();
        if self.rules.heartless && frame.topic() == Topic::Phoenix {
            return Vec::new();
        }
        let ok = |response: serde_json::Value| {
            let refs: (Option<&Ref>, Option<&Ref>) = (frame.join_ref.as_ref(), frame.reference.as_ref());
            encoding
                .reply(refs.0, refs.1, &frame.topic, Reply::Ok, &response)
                .unwrap()
        };
        let empty = || serde_json::json!({});
        match frame.topic() {
            Topic::Phoenix => vec![ok(empty())],
            Topic::Device => {
                let message = FromDevice::read(&frame);
                let mut answers = Vec::new();
                if let FromDevice::Join(join) = &message {
                    answers.push(ok(empty()));
                    answers.extend(self.told(join, encoding));
                }
                let _ = match message {
                    FromDevice::NetworkInterface(_) | FromDevice::ConnectionTypes(_) | FromDevice::Script(_) => {
                        self.beside.send(message.into()).is_ok()
                    }
                    message => self.tell.send(message).is_ok(),
                };
                answers
            }
            Topic::Console => {
                let message = FromConsole::read(&frame);
                let is_join = matches!(message, FromConsole::Join(_));
                let _ = self.beside.send(message.into());
                if is_join { vec![ok(empty())] } else { Vec::new() }
            }
            Topic::Extensions => {
                let message = FromExtensions::read(&frame);
                let is_join = matches!(message, FromExtensions::Join(_));
                let _ = self.beside.send(message.into());
                let attached = serde_json::json!(self.rules.extensions);
                if is_join { vec![ok(attached)] } else { Vec::new() }
            }
            Topic::Unknown => panic!("{}", frame.topic),
        }
    }

    fn told(&self, join: &Join, encoding: Encoding) -> Vec<Message> {
        let mut pushes = Vec::new();
        if !self.rules.extensions.is_empty() {
            pushes.push(ToDevice::GetExtensions);
        }
        if let Some((uuid, update)) = &*self.rollout.lock().unwrap()
            && join.firmware.uuid.as_ref() != Some(uuid)
            && join.busy_with().is_none()
        {
            pushes.push(update.clone());
        }
        pushes.iter().map(|push| push.encode(encoding, None).unwrap()).collect()
    }
}
