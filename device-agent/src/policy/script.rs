//! A program of the configuration that decides.
//!
//! It gets the offer in its environment (`MUSTER_UPDATE_UUID`, `_VERSION`, `_PRODUCT`, `_PLATFORM`, `_ARCHITECTURE`,
//! `_SIZE`, `_RESCHEDULES`; `MUSTER_RUNNING_UUID`, `_VERSION`; `MUSTER_IDENTIFIER`, `MUSTER_STATE_DIR`), ends with 0, and
//! its first line of output is `apply`, `ignore REASON` or `reschedule DELAY REASON`, with a delay such as `90`, `5s` or
//! `10m`. Anything else, a failure and silence too, puts the update off: no answer is no consent.

use std::path::PathBuf;
use std::time::Duration;

use super::{Context, Deciding, Decision, Policy, already_running};
use crate::config::Settings;
use crate::duration;
use crate::program::{self, Program};
use crate::update::Offer;

/// How long an update is put off when the script gives no usable answer.
const FAILED_DELAY: Duration = Duration::from_mins(5);
/// A longer reason is cut.
const REASON_MAX: usize = 512;

/// The program and its limits.
#[derive(Debug)]
pub struct Script {
    path: PathBuf,
    time_limit: Duration,
    state_dir: PathBuf,
}

impl Script {
    /// The script at `path`, with the limits of the configuration.
    pub fn new(path: PathBuf, settings: &Settings) -> Self {
        Self {
            path,
            time_limit: settings.policy.time_limit,
            state_dir: settings.agent.state_dir.clone(),
        }
    }

    fn program(&self, offer: &Offer, context: &Context) -> Program {
        let size = offer.size.map(|size| size.to_string()).unwrap_or_default();
        Program::new(&self.path, self.time_limit)
            .env("MUSTER_UPDATE_UUID", &offer.uuid)
            .env("MUSTER_UPDATE_VERSION", &offer.version)
            .env("MUSTER_UPDATE_PRODUCT", &offer.product)
            .env("MUSTER_UPDATE_PLATFORM", &offer.platform)
            .env("MUSTER_UPDATE_ARCHITECTURE", &offer.architecture)
            .env("MUSTER_UPDATE_SIZE", &size)
            .env("MUSTER_UPDATE_RESCHEDULES", &context.reschedules.to_string())
            .env("MUSTER_RUNNING_UUID", &context.running_uuid)
            .env("MUSTER_RUNNING_VERSION", &context.running_version)
            .env("MUSTER_IDENTIFIER", &context.identifier)
            .env("MUSTER_STATE_DIR", &self.state_dir.to_string_lossy())
    }
}

impl Policy for Script {
    fn decide<'a>(&'a self, offer: &'a Offer, context: &'a Context) -> Deciding<'a> {
        Box::pin(async move {
            if let Some(decision) = already_running(offer, context) {
                return decision;
            }
            match program::run(self.program(offer, context)).await {
                Ok(output) => parse(&output),
                Err(cause) => no_answer(&cause.to_string()),
            }
        })
    }
}

/// Reads a script's output.
pub fn parse(output: &str) -> Decision {
    let line = output.lines().next().unwrap_or_default().trim();
    let (verb, rest) = split(line);
    match verb {
        "apply" if rest.is_empty() => Decision::Apply,
        "ignore" => Decision::Ignore { reason: cut(rest) },
        "reschedule" => {
            let (delay, reason) = split(rest);
            match duration::parse(delay) {
                Ok(delay) => Decision::Reschedule {
                    delay,
                    reason: cut(reason),
                },
                Err(cause) => no_answer(&cause.to_string()),
            }
        }
        "" => no_answer("it said nothing"),
        _ => no_answer(&format!("it said `{}`", cut(line))),
    }
}

fn split(text: &str) -> (&str, &str) {
    match text.split_once(char::is_whitespace) {
        Some((first, rest)) => (first, rest.trim()),
        None => (text, ""),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(REASON_MAX).collect()
}

fn no_answer(reason: &str) -> Decision {
    Decision::Reschedule {
        delay: FAILED_DELAY,
        reason: format!("the policy script gave no usable answer: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(parse("apply\n"), Decision::Apply);
        assert_eq!(
            parse("ignore battery low\nmore"),
            Decision::Ignore {
                reason: "battery low".into()
            }
        );
        assert_eq!(parse("ignore"), Decision::Ignore { reason: String::new() });
        for (text, delay) in [
            ("reschedule 5s in use", Duration::from_secs(5)),
            ("reschedule 300  in use ", Duration::from_mins(5)),
            ("reschedule 5m in use", Duration::from_mins(5)),
        ] {
            let reason = "in use".into();
            assert_eq!(parse(text), Decision::Reschedule { delay, reason }, "{text}");
        }
    }

    #[test]
    fn no_usable_answer_is_no_consent() {
        for text in [
            "",
            "\napply",
            "apply now",
            "yes",
            "reschedule",
            "reschedule soon",
            "Apply",
        ] {
            let Decision::Reschedule { delay, .. } = parse(text) else {
                panic!("{text}");
            };
            assert_eq!(delay, FAILED_DELAY);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_output_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }
    }
}
