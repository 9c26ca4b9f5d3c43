//! The agent's own socket: who may act as the agent's user asks how it is, and has it do something.
//!
//! A Unix stream socket, `agent.sock` in the state directory, for the user that the agent runs as and for root. Each line
//! is a JSON object, and each is answered by one:
//!
//! ```text
//! > {"command":"status"}
//! < {"ok":true,"status":{…}}
//! > {"command":"reconnect"}      drops the link, or the wait for the next attempt, and dials at once
//! < {"ok":true}
//! > {"command":"identify"}       as if the server had asked
//! < {"ok":true}
//! > {"command":"upload","path":"/var/log/messages"}   to whoever has the console open
//! < {"ok":true}
//! > {"command":"nonsense"}
//! < {"ok":false,"error":"…"}
//! ```

pub mod client;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A longer line is refused.
const LINE_MAX: u64 = 4096;
/// More connections at a time than this wait.
const CONNECTIONS_MAX: usize = 4;
/// A connection that says nothing for this long is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The agent answers within this or not at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the agent can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How it is.
    Status,
    /// To dial at once.
    Reconnect,
    /// To make the device seen.
    Identify,
    /// To send a file to whoever has the device's console open.
    Upload {
        /// Where it is.
        path: PathBuf,
    },
}

/// A request that waits for its answer.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Where the answer goes: what is added to `"ok":true`, or why not.
    pub answer: oneshot::Sender<Result<Value, String>>,
}

/// The open socket; dropped, it is gone.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Control {
    /// Opens the socket in place of what an agent before left there. Requests go to `sink`.
    ///
    /// # Errors
    /// When it cannot be bound, such as for a path of more than about 100 bytes.
    pub fn open(path: &Path, sink: mpsc::Sender<Asked>) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(path)?;
        // Who comes in between is turned away by who he is.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self {
            path: path.to_owned(),
            task: tokio::spawn(listen(listener, sink)),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
        // An error says that it is gone already.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn listen(listener: UnixListener, sink: mpsc::Sender<Asked>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) if is_ours(&stream) => {
                let sink = sink.clone();
                connections.spawn(async move {
                    // Who hangs up is not told why.
                    let _ = serve(stream, sink).await;
                });
            }
            Ok(_) => tracing::warn!("stranger turned away from the control socket"),
            Err(cause) => {
                tracing::warn!(error = %cause, "control socket does not accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    let uid = stream.peer_cred().map(|peer| Uid::from_raw(peer.uid()));
    uid.is_ok_and(|uid| uid.is_root() || uid == Uid::effective())
}

async fn serve(stream: UnixStream, sink: mpsc::Sender<Asked>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(512, reader);
    loop {
        let mut line = String::new();
        let mut bounded = (&mut reader).take(LINE_MAX);
        let read = timeout(IDLE_TIMEOUT, bounded.read_line(&mut line)).await??;
        if read == 0 {
            return Ok(());
        }
        let is_whole = line.ends_with('\n') || (read as u64) < LINE_MAX;
        let answer = if is_whole {
            answer(&line, &sink).await
        } else {
            refusal("the line is too long")
        };
        writer.write_all(format!("{answer}\n").as_bytes()).await?;
        if !is_whole {
            return Ok(());
        }
    }
}

async fn answer(line: &str, sink: &mpsc::Sender<Asked>) -> Value {
    let request = match serde_json::from_str(line) {
        Ok(request) => request,
        Err(cause) => return refusal(&format!("no such request: {cause}")),
    };
    let (sender, receiver) = oneshot::channel();
    let asked = Asked {
        request,
        answer: sender,
    };
    let asking = async {
        sink.send(asked).await.ok()?;
        receiver.await.ok()
    };
    match timeout(ANSWER_TIMEOUT, asking).await {
        Ok(Some(Ok(Value::Object(mut more)))) => {
            more.insert("ok".to_owned(), true.into());
            Value::Object(more)
        }
        Ok(Some(Ok(_))) => json!({ "ok": true }),
        Ok(Some(Err(reason))) => refusal(&reason),
        Ok(None) => refusal("the agent ends"),
        Err(_) => refusal("the agent is busy"),
    }
}

fn refusal(reason: &str) -> Value {
    json!({ "ok": false, "error": reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(path: &Path, text: &str, count: usize) -> Vec<Value> {
        let mut stream = UnixStream::connect(path).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let mut answers = Vec::new();
        while answers.len() < count {
            let line = lines.next_line().await.unwrap().unwrap();
            answers.push(serde_json::from_str(&line).unwrap());
        }
        answers
    }

    #[tokio::test]
    async fn lines_are_answered_in_turn_and_the_socket_is_the_owners() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        std::fs::write(&path, "left behind").unwrap();
        let (sink, mut requests) = mpsc::channel(4);
        let control = Control::open(&path, sink).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        tokio::spawn(async move {
            while let Some(Asked { request, answer }) = requests.recv().await {
                let _ = answer.send(Ok(json!({ "asked": request })));
            }
        });
        let text = "{\"command\":\"status\"}\n{\"command\":\"dance\"}\nnonsense\n{\"command\":\"reconnect\"}\n";
        let answers = lines(&path, text, 4).await;
        assert_eq!(answers[0], json!({ "ok": true, "asked": { "command": "status" } }));
        assert_eq!((&answers[1]["ok"], &answers[2]["ok"]), (&false.into(), &false.into()));
        assert!(answers[1]["error"].as_str().unwrap().contains("dance"));
        assert_eq!(answers[3]["asked"]["command"], "reconnect");
        let long = lines(&path, &"x".repeat(5000), 1).await;
        assert!(long[0]["error"].as_str().unwrap().contains("too long"));
        drop(control);
        assert!(!path.exists());
    }
}
