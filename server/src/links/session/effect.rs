//! What goes into a session and what comes out of it.

use muster_link::{
    Archive, ExtensionSet, FromConsole, FromExtensions, HealthReport, Identity, Join, Location, LogLine, Message, Push,
    ScriptResult, Stage, StatusUpdate, ToDevice,
};

use super::Closing;

/// What goes in.
#[derive(Debug)]
pub enum Input<'a> {
    /// A text message came.
    Text(&'a str),
    /// A binary message came.
    Binary(&'a [u8]),
    /// The join was written; what the device is told at once.
    Joined(Box<Welcome>),
    /// The join could not be written.
    NotJoined,
    /// The device is to be told something.
    Tell(Box<Push>),
    /// Operators switched: from now on the device may use these extensions and no others.
    Allow(ExtensionSet),
}

/// What a device is told after its join.
#[derive(Debug, Clone, Default)]
pub struct Welcome {
    /// The org's signing keys in base64, where the device wants them.
    pub keys: Vec<String>,
    /// The archive of its group's release.
    pub archive: Option<Box<Archive>>,
    /// The extensions that it may use.
    pub extensions: ExtensionSet,
    /// The update that it goes on with, or is told.
    pub update: Option<ToDevice>,
    /// The code that runs at each of its connects; empty where there is none.
    pub connecting_code: String,
}

/// What comes out.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Send this message.
    Send(Message),
    /// Write this join; its answer comes as [`Input::Joined`] or [`Input::NotJoined`].
    Join(Box<Join>),
    /// Note what the device reports.
    Report(Report),
    /// Issue a certificate for this request, in PEM.
    Renew(String),
    /// Hand this on to who waits for it or watches, on this node; nothing of it is stored.
    Relay(Relay),
    /// Close the socket, for this reason.
    Close(Closing),
}

/// What a joined device reports, to be stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// Progress in percent; without a stage 100 means completed.
    Progress(Option<Stage>, u8),
    /// Where it stands with its update.
    Status(StatusUpdate),
    /// Its firmware was found good.
    Validated,
    /// The interface that carries the link.
    Interface(String),
    /// The kinds of connection that it has.
    ConnectionTypes(Vec<String>),
    /// What it measured of itself.
    Health(Box<HealthReport>),
    /// Where it is.
    Location(Location),
    /// Its keys in overlay networks: these are added.
    Identities(Vec<Identity>),
    /// A log line.
    Log(Box<LogLine>),
}

/// What goes to people and callers of this node.
#[derive(Debug, Clone, PartialEq)]
pub enum Relay {
    /// The console was joined, or said something.
    Console(FromConsole),
    /// The system shell said something.
    Shell(FromExtensions),
    /// What became of a script.
    Script(ScriptResult),
    /// The device is too old for the script of this reference.
    NoScripts(String),
}
