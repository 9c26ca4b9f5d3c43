//! The command line (format §11).

mod args;
mod commands;
mod input;
mod output;

use std::{ffi::OsString, process::ExitCode};

use args::{Args, Command};
use output::Output;

/// What went wrong, as it is told to the user.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Runs the program.
pub(crate) fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match Args::parse(words) {
        Ok(args) => args,
        Err(reason) => {
            Output::new(&Args::default()).failure(&reason);
            return ExitCode::FAILURE;
        }
    };
    let mut output = Output::new(&args);
    let result = dispatch(&args, &mut output);
    let status = u8::from(result.is_err());
    match result {
        Ok(text) => output.success(&text),
        Err(failure) => output.failure(&failure.to_string()),
    }
    if args.exit_handshake {
        output.handshake(status);
        input::drain();
    }
    ExitCode::from(status)
}

fn dispatch(args: &Args, output: &mut Output) -> Result<String, Failure> {
    match args.command {
        Some(Command::Apply) => commands::apply(args, output),
        Some(Command::Create) => commands::create(args),
        Some(Command::Metadata) => commands::metadata(args),
        Some(Command::List) => commands::list(args),
        Some(Command::Verify) => commands::verify(args),
        Some(Command::Sign) => commands::sign(args),
        Some(Command::Generate) => commands::generate(args),
        Some(Command::Version) => Ok(format!("{}\n", muster_fwup::FWUP_VERSION)),
        None => Err("say what to do: -a apply, -c create, -m metadata, -l list, -V verify, -S sign, -g keys".into()),
    }
}
