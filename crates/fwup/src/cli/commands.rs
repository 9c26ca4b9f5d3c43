//! What each command does. Every function returns what is to be printed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use muster_fwup::{Archive, CreateOptions, Env, Error, PrivateKey, PublicKey, SignOptions, Signature};

use super::{Failure, cards, input, options::Args, sparse};

/// The variables of the process; handing them on is the user's choice here, not the library's.
pub(crate) fn environment() -> Env {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn open(args: &Args) -> Result<Archive<Box<dyn io::Read + Send>>, Failure> {
    Ok(Archive::open(input::open(args)?, &public_keys(args)?, &environment())?)
}

pub(crate) fn public_keys(args: &Args) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = Vec::new();
    for path in &args.public_key_files {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let key = PublicKey::from_file_bytes(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        keys.push(key);
    }
    for text in &args.public_keys {
        keys.push(text.parse().map_err(|error| format!("--public-key: {error}"))?);
    }
    Ok(keys)
}

fn private_key(args: &Args) -> Result<Option<PrivateKey>, Failure> {
    if let Some(path) = &args.private_key_file {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let key = PrivateKey::from_file_bytes(&bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        return Ok(Some(key));
    }
    Ok(args.private_key.as_ref().map(|text| text.parse()).transpose()?)
}

/// `-m`.
pub(crate) fn metadata(args: &Args) -> Result<String, Failure> {
    let archive = open(args)?;
    let Some(key) = &args.metadata_key else {
        return Ok(archive.metadata().listing());
    };
    let value = archive.metadata().pairs().into_iter().find(|(name, _)| name == key);
    Ok(value.map_or_else(|| "(null)\n".to_owned(), |(_, value)| format!("{value}\n")))
}

/// `-l`.
pub(crate) fn list(args: &Args) -> Result<String, Failure> {
    let archive = open(args)?;
    let mut tasks = archive.tasks();
    tasks.sort_unstable();
    tasks.push("");
    Ok(tasks.join("\n"))
}

/// `-V`.
pub(crate) fn verify(args: &Args) -> Result<String, Failure> {
    let verified = open(args)?.verify()?;
    Ok(match verified.signature {
        Signature::Good(_) => "Valid archive with a good signature\n",
        Signature::Unverified => "Valid archive with an unverified signature. Specify a public key to authenticate.\n",
        Signature::Unsigned => "Valid archive without a signature\n",
    }
    .to_owned())
}

/// The time that an archive states: `SOURCE_DATE_EPOCH`, else `NOW`, else the clock's (format §2.7).
#[expect(clippy::disallowed_methods, reason = "a command line tool's clock is the system's")]
fn creation_time() -> Result<i64, Failure> {
    if let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let text = text.to_string_lossy().into_owned();
        return text
            .parse()
            .map_err(|_| "SOURCE_DATE_EPOCH must be a number of seconds".into());
    }
    if let Some(text) = std::env::var_os("NOW") {
        let time = muster_fwup::parse_date(&text.to_string_lossy());
        return time.ok_or_else(|| "NOW must be a date like 2025-06-15T15:06:40Z".into());
    }
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}

/// `-c`.
pub(crate) fn create(args: &Args) -> Result<String, Failure> {
    let key = private_key(args)?;
    let options = CreateOptions {
        compression: args.level.unwrap_or(9),
        source_date_epoch: Some(creation_time()?),
        signing_key: key.as_ref(),
    };
    let config = args.config.as_deref().unwrap_or(Path::new("fwup.conf"));
    let make = |out: &mut dyn Write| {
        if config.as_os_str() != "-" {
            return muster_fwup::create(config, &environment(), &options, out);
        }
        let text = io::read_to_string(io::stdin()).map_err(Error::Output)?;
        muster_fwup::create_from_str(&text, Path::new(""), &environment(), &options, out)
    };
    into_file(args.output.as_deref(), |out| make(out).map(|_| ()))?;
    Ok(String::new())
}

/// `-S`.
pub(crate) fn sign(args: &Args) -> Result<String, Failure> {
    let key = private_key(args)?.ok_or("-s names the private key to sign with")?;
    let options = SignOptions {
        compression: args.level.unwrap_or(9),
        source_date_epoch: Some(creation_time()?),
    };
    let reader = input::open(args)?;
    let target = args.output.as_deref().or(args.input.as_deref());
    into_file(target, |out| muster_fwup::sign_with(reader, out, &key, &options))?;
    Ok(String::new())
}

/// Writes a file beside its final place and puts it there when it is whole.
pub(crate) fn into_file(
    path: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Error>,
) -> Result<(), Failure> {
    let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
        return Ok(write(&mut io::stdout().lock())?);
    };
    let beside = with_suffix(path, ".tmp");
    let named = |error: io::Error| format!("{}: {error}", beside.display());
    let mut file = BufWriter::new(File::create(&beside).map_err(named)?);
    let result = write(&mut file).map_err(Failure::from).and_then(|()| {
        file.flush()?;
        file.get_ref().sync_all()?;
        Ok(fs::rename(&beside, path)?)
    });
    if result.is_err() {
        // the error that matters is the one before
        let _ = fs::remove_file(&beside);
    }
    result
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// `-D`: a line for each card, its path and its size in bytes.
pub(crate) fn detect() -> String {
    let line = |card: cards::Card| format!("{},{}\n", card.path.display(), card.size);
    cards::find().into_iter().map(line).collect()
}

/// `--sparse-check`.
pub(crate) fn sparse_check(path: &Path, size: u64) -> Result<String, Failure> {
    let supported = sparse::is_supported(path, size).map_err(|error| format!("{}: {error}", path.display()))?;
    if supported {
        Ok("Sparse files supported\n".to_owned())
    } else {
        Err(format!("{}: files here have no holes", path.display()).into())
    }
}

/// `-g`.
pub(crate) fn generate(args: &Args) -> Result<String, Failure> {
    let key = PrivateKey::generate()?;
    let prefix = args.output.clone().unwrap_or_else(|| PathBuf::from("fwup-key"));
    for (suffix, text) in [(".priv", key.to_base64()), (".pub", key.public().to_string())] {
        let path = with_suffix(&prefix, suffix);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
        file.write_all(text.as_bytes())?;
    }
    Ok(String::new())
}
