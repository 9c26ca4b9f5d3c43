//! Makes what a browser test needs of the world outside: a signing key, firmware of a kiosk, and virtual boards that run it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use muster_fwup::PrivateKey;
use muster_tests::board::Wiring;
use muster_tests::{Authority, Board, Kiosk};

/// Makes a signing key (`key.pub`), signed firmware (`VERSION.fw`), unsigned firmware (`unsigned.fw`), and a folder for each
/// board with its certificate, its disk and the configuration of its agent.
#[derive(Debug, Parser)]
#[command(name = "muster-boards")]
struct Arguments {
    /// Where all of it goes.
    folder: PathBuf,
    /// The product that the firmware is for.
    #[arg(long, default_value = "kiosk")]
    product: String,
    /// Versions of the firmware; boards run the first one.
    #[arg(long, value_delimiter = ',', default_value = "1.0.0,1.1.0")]
    versions: Vec<String>,
    /// Boards, as an identifier, or an identifier, a colon, and the shell script that decides on updates.
    #[arg(long = "board")]
    boards: Vec<String>,
    /// The server's device listener.
    #[arg(long, default_value = "127.0.0.1:4001")]
    server: SocketAddr,
    /// The CA of the server's certificate.
    #[arg(long)]
    server_ca: Option<PathBuf>,
    /// Bytes of each version's root file system.
    #[arg(long, default_value_t = 200_000)]
    root_bytes: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder)?;
    let key = PrivateKey::generate()?;
    std::fs::write(folder.join("key.pub"), key.public().to_string())?;
    let kiosk = |version| Kiosk {
        root_bytes: arguments.root_bytes,
        ..Kiosk::new(&arguments.product, version)
    };
    for version in &arguments.versions {
        std::fs::write(folder.join(format!("{version}.fw")), kiosk(version).build(&key)?)?;
    }
    let first = arguments.versions.first().context("no version")?;
    std::fs::write(folder.join("unsigned.fw"), kiosk(first).build_unsigned()?)?;
    let archive = std::fs::read(folder.join(format!("{first}.fw")))?;
    let authority = Authority::new("boards")?;
    for board in &arguments.boards {
        let (identifier, policy) = board
            .split_once(':')
            .map_or((board.as_str(), None), |(name, script)| (name, Some(script)));
        let wiring = Wiring {
            server: arguments.server,
            server_ca: arguments.server_ca.as_deref().context("--server-ca")?,
            key: &key.public(),
            policy,
            identity: "",
            agent: "",
        };
        Board::make(folder, identifier, &archive, &authority.device(identifier)?, &wiring)?;
    }
    Ok(())
}
