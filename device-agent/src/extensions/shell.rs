//! The extension `local_shell`: a shell without time limit, for people who look at the device's page.

use muster_link::{FromExtensions, ShellStatus};
use nix::sys::signal::Signal;
use tokio::sync::mpsc;

use crate::link::Voice;
use crate::terminal::{Input, Output, Terminal};

/// Pieces of output that wait for the link; the shell waits beyond.
const OUTPUTS_MAX: usize = 4;

/// The shell, if one runs.
#[derive(Debug)]
pub(super) struct LocalShell {
    program: Vec<String>,
    voice: Voice,
    window: (u16, u16),
    running: Option<(Terminal, tokio::task::JoinHandle<()>)>,
}

impl LocalShell {
    pub(super) fn new(program: Vec<String>, voice: Voice) -> Self {
        Self {
            program,
            voice,
            window: (24, 80),
            running: None,
        }
    }

    /// Starts the shell, unless one runs; says how that went.
    pub(super) fn request(&mut self) -> FromExtensions {
        if self.running.as_ref().is_some_and(|(_, task)| !task.is_finished()) {
            return FromExtensions::ShellStatus(ShellStatus::Started);
        }
        let (sender, output) = mpsc::channel(OUTPUTS_MAX);
        let (rows, cols) = self.window;
        match Terminal::start(&self.program, rows, cols, sender) {
            Ok(terminal) => {
                let task = tokio::spawn(pass_on(output, self.voice.clone()));
                self.running = Some((terminal, task));
                FromExtensions::ShellStatus(ShellStatus::Started)
            }
            Err(cause) => FromExtensions::ShellStatus(ShellStatus::Failed(cause.to_string())),
        }
    }

    pub(super) fn input(&self, text: String) {
        self.give(Input::Text(text));
    }

    pub(super) fn resize(&mut self, rows: u16, cols: u16) {
        self.window = (rows, cols);
        self.give(Input::Window { rows, cols });
    }

    /// Sends the signal of this number, or that of a line that is hung up.
    pub(super) fn kill(&self, signal: Option<u64>) {
        let number = signal.and_then(|number| i32::try_from(number).ok());
        let signal = number.and_then(|number| Signal::try_from(number).ok());
        self.give(Input::Kill(signal.unwrap_or(Signal::SIGHUP)));
    }

    fn give(&self, input: Input) {
        if let Some((terminal, _)) = &self.running {
            terminal.give(input);
        }
    }

    pub(super) fn stop(&mut self) {
        if let Some((terminal, task)) = self.running.take() {
            task.abort();
            drop(terminal);
        }
    }
}

async fn pass_on(mut output: mpsc::Receiver<Output>, voice: Voice) {
    while let Some(output) = output.recv().await {
        let message = match output {
            Output::Text(text) => FromExtensions::ShellOutput(text),
            Output::Ended(code) => FromExtensions::ShellExited(code),
        };
        if !voice.say(message).await {
            return;
        }
    }
}
