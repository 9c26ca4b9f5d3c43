//! `scripts/run`: code that the server sends, run by an interpreter of the configuration, or refused; answered in any case
//! (device-link §3.3).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_link::{Completion, FromDevice, Script, ScriptResult};
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::link::Voice;
use crate::program::{self, Program, Ran};

/// More scripts at a time are refused.
const RUNNING_MAX: usize = 4;

/// Whether and how scripts are run.
#[derive(Debug, Clone)]
pub struct ScriptSettings {
    /// The interpreter and its arguments, which gets the name of a file with the script; empty: scripts are refused.
    pub interpreter: Vec<String>,
    /// A script may take this long; a server asks for less and not for more.
    pub time_limit: Duration,
    /// So many bytes of each output are sent.
    pub output_max: usize,
}

/// Runs scripts.
#[derive(Debug)]
pub struct Scripts {
    settings: ScriptSettings,
    directory: PathBuf,
    running: Arc<Semaphore>,
    count: AtomicU64,
}

impl Scripts {
    /// Runs scripts by these settings; they lie in `directory` meanwhile.
    pub fn new(settings: ScriptSettings, directory: &Path) -> Self {
        Self {
            settings,
            directory: directory.to_owned(),
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            count: AtomicU64::new(0),
        }
    }

    /// Runs a script, or refuses it; the answer is said by `voice`.
    pub fn run(&self, script: Script, voice: Voice) {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let file = self.directory.join(format!("script-{number}"));
        let settings = self.settings.clone();
        let permit = Arc::clone(&self.running).try_acquire_owned();
        tokio::spawn(async move {
            let result = match permit {
                Err(_) => refused(&script, "too many scripts run already"),
                Ok(_) if settings.interpreter.is_empty() => refused(&script, "scripts are not enabled on this device"),
                Ok(_permit) => {
                    let result = interpret(&settings, &script, &file).await;
                    // One that could not be written is not there.
                    let _ = tokio::fs::remove_file(&file).await;
                    result
                }
            };
            tracing::info!(script.reference = result.reference, script.result = ?result.result, "script answered");
            voice.say(FromDevice::Script(result)).await;
        });
    }
}

async fn interpret(settings: &ScriptSettings, script: &Script, file: &Path) -> ScriptResult {
    if let Err(cause) = write(file, &script.text).await {
        return refused(script, &format!("the script cannot be written: {cause}"));
    }
    let asked = script.timeout.map_or(settings.time_limit, Duration::from_millis);
    let mut line = settings.interpreter.clone();
    line.push(file.to_string_lossy().into_owned());
    let program = Program::command(&line, asked.min(settings.time_limit));
    match program::capture(program, settings.output_max).await {
        Ok(ran) => ended(script, &ran),
        Err(cause) => refused(script, &cause.to_string()),
    }
}

/// Writes a file that only the agent's user reads: a script may hold a secret.
async fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(file)
        .await?;
    file.write_all(text.as_bytes()).await?;
    file.flush().await
}

fn ended(script: &Script, ran: &Ran) -> ScriptResult {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let output = text(&ran.output) + &text(&ran.errors);
    let (result, value, reason) = match ran.status {
        None => (Completion::Error, String::new(), Some("timeout".to_owned())),
        Some(status) if status.success() => (Completion::Completed, "0".to_owned(), None),
        Some(status) => {
            let code = status.code().map_or_else(String::new, |code| code.to_string());
            (Completion::Error, code, Some(status.to_string()))
        }
    };
    ScriptResult {
        reference: script.reference.clone(),
        result: Some(result),
        output,
        value,
        reason,
    }
}

fn refused(script: &Script, reason: &str) -> ScriptResult {
    ScriptResult {
        reference: script.reference.clone(),
        result: Some(Completion::Error),
        output: reason.to_owned(),
        value: String::new(),
        reason: Some(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::link::{Command, Say};

    async fn answers(interpreter: &[&str], scripts: &[(&str, Option<u64>)]) -> Vec<ScriptResult> {
        let directory = tempfile::tempdir().unwrap();
        let settings = ScriptSettings {
            interpreter: interpreter.iter().map(ToString::to_string).collect(),
            time_limit: Duration::from_secs(10),
            output_max: 20,
        };
        let runner = Scripts::new(settings, directory.path());
        let (commands, mut heard) = mpsc::channel(16);
        for (index, (text, timeout)) in scripts.iter().enumerate() {
            let script = Script {
                text: (*text).to_owned(),
                reference: index.to_string(),
                timeout: *timeout,
            };
            runner.run(script, Voice::to(commands.clone()));
        }
        let mut results = Vec::new();
        while results.len() < scripts.len() {
            let Some(Command::Send(Say::Device(FromDevice::Script(result)))) = heard.recv().await else {
                panic!();
            };
            results.push(result);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        results.sort_by_key(|result| result.reference.clone());
        results
    }

    #[tokio::test]
    async fn scripts_end_well_badly_and_by_time() {
        let results = answers(
            &["/bin/sh"],
            &[
                ("echo $((6 * 7)); cat", None),
                ("echo wrong >&2; exit 3", None),
                ("echo begun; sleep 600", Some(300)),
                ("head -c 500 /dev/zero | tr '\\0' x", None),
            ],
        )
        .await;
        assert_eq!((results[0].output.as_str(), results[0].is_good()), ("42\n", true));
        assert_eq!(
            (results[1].output.as_str(), results[1].value.as_str()),
            ("wrong\n", "3")
        );
        assert_eq!(results[1].result, Some(Completion::Error));
        assert_eq!(results[2].reason.as_deref(), Some("timeout"));
        assert_eq!(results[2].output, "begun\n");
        assert_eq!(results[3].output.len(), 20);
    }

    #[tokio::test]
    async fn without_an_interpreter_and_beyond_the_limit_scripts_are_refused_and_answered() {
        let results = answers(&[], &[("echo 1", None)]).await;
        assert!(!results[0].is_good() && results[0].output.contains("not enabled"));
        let slow = [("sleep 1", None); RUNNING_MAX + 1];
        let results = answers(&["/bin/sh"], &slow).await;
        let refused = results.iter().filter(|result| result.output.contains("too many"));
        assert_eq!(refused.count(), 1);
    }
}
