//! What real devices said, played to a real server: each link that was recorded is opened by the same request and says the
//! same messages. What the server says to them kills none of them (device-link §10).

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use muster_link::Frame;
use muster_link::credential::Signed;
use muster_tests::World;
use muster_tests::certificates::Issued;
use muster_tests::wire::{dial_by, tls};
use serde_json::Value;
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The recordings: one line is one event of one link.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/link/tests/transcripts.jsonl");
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What every device may use here.
const EXTENSIONS: [&str; 5] = ["geo", "health", "local_shell", "logging", "network_identity"];

#[tokio::test]
async fn real_devices_are_served_as_they_were_recorded() -> anyhow::Result<()> {
    let world = World::new(&[]).await?;
    let ca = std::fs::read_to_string(world.server.ca())?;
    let mut db = sqlx::PgConnection::connect(&world.server.database_url()?).await?;
    sqlx::query("UPDATE products SET extensions = $1")
        .bind(EXTENSIONS)
        .execute(&mut db)
        .await?;
    let mut devices: HashMap<String, Issued> = HashMap::new();
    let secret = world.secret(None).await?;
    let (mut played, mut signed) = (0, 0);
    for link in links()? {
        let name = format!("recorded-{}", link.transcript.replace('.', "-"));
        let what = format!("{} #{}", link.transcript, link.number);
        played += 1;
        let proof = if link.is_signed() {
            signed += 1;
            Proof::Signature(secret.sign(&format!("{name}-signed"))?)
        } else {
            if !devices.contains_key(&name) {
                devices.insert(name.clone(), world.device(&name).await?);
            }
            Proof::Certificate(&devices[&name])
        };
        timeout(6 * PATIENCE, play(&world, &ca, &proof, &link))
            .await
            .with_context(|| what.clone())?
            .context(what)?;
    }
    assert!(played > 50 && signed > 5, "{played} links, {signed} of them signed");
    // What they reported is kept.
    let kept = "SELECT kind, count(*) FROM device_reports GROUP BY kind ORDER BY kind";
    let kinds: Vec<(String, i64)> = sqlx::query_as(kept).fetch_all(&mut db).await?;
    assert!(
        kinds.iter().any(|(kind, count)| kind == "health" && *count > 1),
        "{kinds:?}"
    );
    assert!(kinds.iter().any(|(kind, _)| kind == "location"), "{kinds:?}");
    Ok(())
}

/// One link that was recorded.
#[derive(Debug, Default)]
struct Recorded {
    transcript: String,
    number: u64,
    path: String,
    headers: Vec<(String, String)>,
    is_tls13: bool,
    said: Vec<Message>,
}

impl Recorded {
    /// Whether the device came by a shared secret.
    fn is_signed(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == "x-nh-signature")
    }
}

/// What a device comes by: what it had when it was recorded, made anew.
enum Proof<'a> {
    Certificate(&'a Issued),
    Signature(Signed),
}

/// The links in the order in which they were opened.
fn links() -> anyhow::Result<Vec<Recorded>> {
    let mut links: Vec<Recorded> = Vec::new();
    for line in std::fs::read_to_string(RECORDED)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        let transcript = event["transcript"].as_str().unwrap_or_default();
        let number = event["link"].as_u64().context("no link")?;
        if let Some(path) = event["opens"].as_str() {
            links.push(Recorded {
                transcript: transcript.to_owned(),
                number,
                path: path.to_owned(),
                headers: serde_json::from_value(event["headers"].clone())?,
                is_tls13: event["tls"] == "TLSv1.3",
                said: Vec::new(),
            });
            continue;
        }
        let message = match (event["device"].as_str(), event["device_hex"].as_str()) {
            (Some(text), _) => Message::text(text),
            (_, Some(hex)) => {
                let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16);
                Message::binary((0..hex.len()).step_by(2).map(byte).collect::<Result<Vec<u8>, _>>()?)
            }
            _ => continue,
        };
        let of = |link: &&mut Recorded| link.transcript == transcript && link.number == number;
        let link = links.iter_mut().rev().find(of).with_context(|| line.to_owned())?;
        link.said.push(message);
    }
    Ok(links)
}

/// A frame apart from its serialisation.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    join_ref: Value,
    reference: Value,
    topic: String,
    event: String,
    payload: Value,
}

fn plain(message: &Message) -> anyhow::Result<Plain> {
    let frame = match message {
        Message::Text(text) => Frame::parse(text)?,
        Message::Binary(bytes) => Frame::parse_binary(bytes)?,
        other => anyhow::bail!("the server sent {other:?}"),
    };
    Ok(Plain {
        join_ref: serde_json::to_value(&frame.join_ref)?,
        reference: serde_json::to_value(&frame.reference)?,
        topic: frame.topic.to_string(),
        event: frame.event.to_string(),
        payload: frame.payload.read()?,
    })
}

async fn play(world: &World, ca: &str, proof: &Proof<'_>, link: &Recorded) -> anyhow::Result<()> {
    let mut device = Player::open(world, ca, proof, link).await?;
    for message in &link.said {
        device.say(message).await?;
    }
    // The link stands after all of it, and everything that the server had to say came before this answer.
    let beat: &[u8] = &[
        0x95, 0xc0, 0xa3, b'e', b'n', b'd', 0xa7, b'p', b'h', b'o', b'e', b'n', b'i', b'x', 0xa9, b'h', b'e', b'a',
        b'r', b't', b'b', b'e', b'a', b't', 0x80,
    ];
    let beat = match link.said.first() {
        Some(Message::Binary(_)) => Message::binary(beat.to_vec()),
        _ => Message::text(r#"[null,"end","phoenix","heartbeat",{}]"#),
    };
    device.say(&beat).await
}

/// A device that says what was recorded and watches what it is told.
struct Player {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    /// Each topic's joins: a push may cross a later one.
    joins: HashMap<String, Vec<Value>>,
    said: Vec<Plain>,
}

impl Player {
    async fn open(world: &World, ca: &str, proof: &Proof<'_>, link: &Recorded) -> anyhow::Result<Self> {
        let versions: &[&rustls::SupportedProtocolVersion] = if link.is_tls13 {
            &[&rustls::version::TLS13]
        } else {
            &[&rustls::version::TLS12]
        };
        let (cert, signed) = match proof {
            Proof::Certificate(cert) => (Some(*cert), Vec::new()),
            Proof::Signature(signed) => (None, Vec::from(signed.headers())),
        };
        let mut tls = dial_by(tls(ca, cert, versions)?, world.server.devices).await?;
        let mut request = format!("GET {} HTTP/1.1\r\n", link.path);
        for (name, value) in &link.headers {
            let fresh = signed.iter().find(|(fresh, _)| fresh == name);
            let value = fresh.map_or(value.as_str(), |(_, value)| value);
            request += &format!("{name}: {value}\r\n");
        }
        tls.write_all(format!("{request}\r\n").as_bytes()).await?;
        let mut head = [0; 4096];
        let read = tls.read(&mut head).await?;
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        // A head in pieces hangs the device, and a frame behind it is lost.
        ensure!(
            head.starts_with("HTTP/1.1 101 ") && head.ends_with("\r\n\r\n"),
            "{head:?}"
        );
        ensure!(head.matches("\r\n\r\n").count() == 1, "{head:?}");
        Ok(Self {
            socket: WebSocketStream::from_raw_socket(tls, Role::Client, None).await,
            joins: HashMap::new(),
            said: Vec::new(),
        })
    }

    /// Says something, and waits for the answer where there must be one.
    async fn say(&mut self, message: &Message) -> anyhow::Result<()> {
        let frame = plain(message)?;
        self.socket.send(message.clone()).await?;
        let (reference, is_asked) = (frame.reference.clone(), is_answered(&frame));
        if frame.event == "phx_join" {
            let joins = self.joins.entry(frame.topic.clone()).or_default();
            joins.push(frame.join_ref.clone());
        }
        self.said.push(frame);
        if !is_asked {
            return Ok(());
        }
        loop {
            let heard = self.hear().await?;
            if heard.event == "phx_reply" && heard.reference == reference {
                ensure!(heard.payload["status"] == "ok", "{heard:?}");
                return Ok(());
            }
        }
    }

    /// The next message; it must be one that a device survives.
    async fn hear(&mut self) -> anyhow::Result<Plain> {
        let message = timeout(PATIENCE, self.socket.next()).await.context("no answer")?;
        let heard = plain(&message.context("the server closed the link")??)?;
        if heard.event == "phx_reply" {
            let to = self.said.iter().find(|frame| frame.reference == heard.reference);
            let to = to.with_context(|| format!("a reply to nothing: {heard:?}"))?;
            let refuses_extension = heard.payload["response"] == "detach" && to.topic == "extensions";
            ensure!(is_answered(to) || refuses_extension, "{to:?} was answered by {heard:?}");
            ensure!(
                heard.join_ref == to.join_ref && heard.topic == to.topic,
                "{to:?} by {heard:?}"
            );
            if to.topic == "extensions" && to.event == "phx_join" {
                self.attaches_what_it_may(to, &heard)?;
            }
        } else {
            ensure!(heard.reference.is_null(), "a push with a reference: {heard:?}");
            ensure!(!heard.event.starts_with("phx_"), "{heard:?}");
            let joins = self.joins.get(&heard.topic);
            let joins = joins.with_context(|| format!("a push on a topic that is not joined: {heard:?}"))?;
            ensure!(heard.join_ref.is_null() || joins.contains(&heard.join_ref), "{heard:?}");
        }
        Ok(heard)
    }

    fn attaches_what_it_may(&self, join: &Plain, reply: &Plain) -> anyhow::Result<()> {
        let offered = join.payload.as_object().context("the join offers nothing")?;
        let mut names: Vec<&str> = offered.keys().map(String::as_str).collect();
        names.retain(|name| EXTENSIONS.contains(name));
        names.sort_unstable();
        let attached = reply.payload["response"].as_array().context("no list of names")?;
        let mut attached: Vec<&str> = attached.iter().filter_map(Value::as_str).collect();
        attached.sort_unstable();
        ensure!(attached == names, "{join:?} was answered by {reply:?}");
        Ok(())
    }
}

/// What a server answers at all.
fn is_answered(frame: &Plain) -> bool {
    matches!(
        (frame.topic.as_str(), frame.event.as_str()),
        (_, "phx_join" | "phx_leave") | ("phoenix", "heartbeat")
    )
}
