//! The command line (format §11).

mod apply;
mod args;
mod cards;
mod commands;
mod delta;
mod help;
mod host;
mod input;
mod mounts;
mod options;
mod output;
mod sparse;

use std::{ffi::OsString, path::Path, process::ExitCode};

use options::{Args, Command};
use output::Output;

/// What went wrong, as it is told to the user.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// Runs the program; the first word is the name by which it was called.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut words = words.into_iter();
    let called = words.next().unwrap_or_default();
    let program = Path::new(&called)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut words = words.peekable();
    let nothing_said = words.peek().is_none();
    let mut args = Args::default();
    let read = args.read(words);
    let mut output = Output::new(&args);
    let result = match read {
        Ok(()) if nothing_said => Err(help::text(&program)),
        Ok(()) => dispatch(&args, &mut output, &program).map_err(|failure| failure.to_string()),
        Err(reason) => Err(format!("{reason}; {program} --help tells what there is")),
    };
    let status = u8::from(result.is_err());
    match result {
        Ok(text) => output.success(&text),
        Err(text) if nothing_said => output.success(&text),
        Err(failure) => output.failure(&failure),
    }
    if args.exit_handshake {
        output.handshake(status);
        input::drain();
    }
    ExitCode::from(status)
}

fn dispatch(args: &Args, output: &mut Output, program: &str) -> Result<String, Failure> {
    if let Some(path) = &args.sparse_check {
        return commands::sparse_check(path, args.sparse_check_size.unwrap_or(4096));
    }
    if let Some(old) = &args.delta {
        return delta::delta(args, old);
    }
    let command = args
        .command
        .ok_or("say what to do: -a apply, -c create, -m metadata, -l list, -V verify, -S sign, -g keys")?;
    match command {
        Command::Apply => apply::apply(args, output),
        Command::Create => commands::create(args),
        Command::Metadata => commands::metadata(args),
        Command::List => commands::list(args),
        Command::Verify => commands::verify(args),
        Command::Sign => commands::sign(args),
        Command::Generate => commands::generate(args),
        Command::Detect => Ok(commands::detect()),
        Command::Choose => Ok(format!("{}\n", cards::only()?.path.display())),
        Command::Help => Ok(help::text(program)),
        Command::Version => Ok(format!("{}\n", muster_fwup::FWUP_VERSION)),
    }
}
