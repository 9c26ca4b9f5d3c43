//! The topic `console`: a shell for operators, and files both ways (device-link §3.4). Only where the configuration enables
//! it; the topic is not joined otherwise.

pub mod files;

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_link::{FromConsole, ToConsole};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use self::files::Inbox;
use crate::link::Voice;
use crate::terminal::{Input, Output, Terminal};

/// The level of the console that the agent speaks: with files.
pub const VERSION: &str = "2.0.0";
/// Messages of the server that wait; more are dropped.
const MESSAGES_MAX: usize = 64;
/// Pieces of output that wait for the link; the shell waits beyond.
const OUTPUTS_MAX: usize = 4;
/// A shell that ends sooner than this is not started again by itself.
const SHORT_LIFE: Duration = Duration::from_secs(1);
const BANNER: &str = "\r\n+-------------------------------------------+\r\n\
                      | Session timed out: press any key to go on |\r\n\
                      +-------------------------------------------+\r\n";

/// Whether and how the console works.
#[derive(Debug, Clone)]
pub struct ConsoleSettings {
    /// Whether there is a console.
    pub enabled: bool,
    /// The shell and its arguments.
    pub shell: Vec<String>,
    /// Where files from operators go.
    pub data_dir: PathBuf,
    /// A shell without input and output for this long is ended.
    pub inactivity: Duration,
}

/// The running console.
#[derive(Debug)]
pub struct Console {
    messages: mpsc::Sender<ToConsole>,
    task: JoinHandle<()>,
    voice: Voice,
}

impl Console {
    /// Starts; the shell starts with the first message.
    pub fn start(settings: ConsoleSettings, voice: Voice) -> Self {
        let (messages, incoming) = mpsc::channel(MESSAGES_MAX);
        let task = Task {
            inbox: Inbox::new(&settings.data_dir),
            settings,
            voice: voice.clone(),
            window: (24, 80),
            shell: None,
        };
        Self {
            messages,
            task: tokio::spawn(task.run(incoming)),
            voice,
        }
    }

    /// The server says this.
    pub fn told(&self, message: ToConsole) {
        if self.messages.try_send(message).is_err() {
            tracing::debug!("console is too busy, message dropped");
        }
    }

    /// Sends a file to whoever has the console open.
    pub fn send_file(&self, path: &Path) {
        let (path, voice) = (path.to_owned(), self.voice.clone());
        tokio::spawn(async move {
            if let Err(cause) = files::send(&path, &voice).await {
                tracing::warn!(error = %cause, file.path = %path.display(), "file not sent");
            }
        });
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shell {
    terminal: Terminal,
    output: mpsc::Receiver<Output>,
    since: Instant,
    active: Instant,
}

struct Task {
    settings: ConsoleSettings,
    voice: Voice,
    inbox: Inbox,
    window: (u16, u16),
    shell: Option<Shell>,
}

impl Task {
    async fn run(mut self, mut incoming: mpsc::Receiver<ToConsole>) {
        loop {
            let ends = self.shell.as_ref().map(|shell| shell.active + self.settings.inactivity);
            tokio::select! {
                message = incoming.recv() => match message {
                    Some(message) => self.told(message).await,
                    None => return,
                },
                output = next(&mut self.shell) => self.said(output).await,
                () = at(ends) => self.timed_out().await,
            }
        }
    }

    async fn up(&self, text: impl Into<String>) {
        self.voice.say(FromConsole::Up(text.into())).await;
    }

    async fn told(&mut self, message: ToConsole) {
        match message {
            ToConsole::FileStart(mark) => self.inbox.start(&mark.filename),
            ToConsole::FileData(chunk) => self.inbox.data(&chunk.filename, &chunk.data),
            ToConsole::FileStop(mark) => self.inbox.stop(&mark.filename),
            ToConsole::Down(text) => {
                self.open().await;
                self.give(Input::Text(text));
            }
            ToConsole::WindowSize { height, width } => {
                self.window = (height, width);
                self.open().await;
                self.give(Input::Window {
                    rows: height,
                    cols: width,
                });
            }
            ToConsole::Restart => {
                self.up("\r*** Restarting the shell ***\r\n").await;
                self.shell = None;
                self.open().await;
            }
            ToConsole::Unknown(event) => tracing::debug!(event, "unknown console message ignored"),
        }
    }

    /// Any message starts the shell, and keeps it from being ended.
    async fn open(&mut self) {
        if self.shell.is_none() {
            let (sender, output) = mpsc::channel(OUTPUTS_MAX);
            let (rows, cols) = self.window;
            match Terminal::start(&self.settings.shell, rows, cols, sender) {
                Ok(terminal) => {
                    tracing::info!("console shell started");
                    let now = Instant::now();
                    self.shell = Some(Shell {
                        terminal,
                        output,
                        since: now,
                        active: now,
                    });
                }
                Err(cause) => {
                    tracing::warn!(error = %cause, "console shell not started");
                    self.up(format!("\r\n*** the shell cannot be started: {cause} ***\r\n"))
                        .await;
                }
            }
        }
        if let Some(shell) = &mut self.shell {
            shell.active = Instant::now();
        }
    }

    fn give(&self, input: Input) {
        if let Some(shell) = &self.shell {
            shell.terminal.give(input);
        }
    }

    async fn said(&mut self, output: Option<Output>) {
        match output {
            Some(Output::Text(text)) => {
                if let Some(shell) = &mut self.shell {
                    shell.active = Instant::now();
                }
                self.up(text).await;
            }
            Some(Output::Ended(code)) => self.ended(code).await,
            None => self.ended(-1).await,
        }
    }

    async fn ended(&mut self, code: i64) {
        tracing::info!(code, "console shell ended");
        let lived = self.shell.take().map(|shell| shell.since.elapsed());
        self.up(format!("\r\n******* The shell has ended: {code} *******\r\n"))
            .await;
        if lived.is_some_and(|lived| lived >= SHORT_LIFE) {
            self.open().await;
        }
    }

    async fn timed_out(&mut self) {
        tracing::info!("console session timed out");
        self.shell = None;
        self.up(BANNER).await;
    }
}

async fn next(shell: &mut Option<Shell>) -> Option<Output> {
    match shell {
        Some(shell) => shell.output.recv().await,
        None => std::future::pending().await,
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
