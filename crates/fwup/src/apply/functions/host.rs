//! Functions that reach outside of the target: `path_write`, `pipe_write`, `ubi_volume_write`, `execute`,
//! `reboot_param`.

use std::{ffi::OsStr, io, os::unix::ffi::OsStrExt as _, path::Path};

use super::{Arguments, Kind, Sink};
use crate::{
    apply::{
        ApplyOptions,
        host::{HostSink, Outlet},
        work::Work,
    },
    error::Error,
    metaconf::{Bytes, text},
    target::BLOCK,
};

#[derive(Clone, Debug)]
pub(super) enum HostFunction {
    PathWrite(Bytes),
    PipeWrite(Bytes),
    UbiVolumeWrite(Bytes),
    Execute(Bytes),
    RebootParam(Bytes),
}

pub(super) fn path_write(args: &Arguments<'_>) -> Result<Kind, String> {
    Ok(Kind::Host(HostFunction::PathWrite(args.name(0)?)))
}

pub(super) fn pipe_write(args: &Arguments<'_>) -> Result<Kind, String> {
    Ok(Kind::Host(HostFunction::PipeWrite(args.name(0)?)))
}

pub(super) fn ubi_volume_write(args: &Arguments<'_>) -> Result<Kind, String> {
    Ok(Kind::Host(HostFunction::UbiVolumeWrite(args.name(0)?)))
}

pub(super) fn execute(args: &Arguments<'_>) -> Result<Kind, String> {
    Ok(Kind::Host(HostFunction::Execute(args.name(0)?)))
}

pub(super) fn reboot_param(args: &Arguments<'_>) -> Result<Kind, String> {
    Ok(Kind::Host(HostFunction::RebootParam(args.word(0)?.clone())))
}

fn failed(name: &str, what: &[u8], error: &io::Error) -> Error {
    Error::HostFunctionFailed {
        function: format!("{name}({})", text(what)),
        reason: error.to_string(),
    }
}

impl HostFunction {
    pub(super) fn units(&self, data: u64, full: u64) -> u64 {
        match self {
            Self::PathWrite(_) => data,
            Self::PipeWrite(_) | Self::UbiVolumeWrite(_) => full,
            Self::Execute(_) | Self::RebootParam(_) => BLOCK as u64,
        }
    }

    /// Why the caller does not let the function run.
    pub(super) fn refused(&self, options: &ApplyOptions<'_>) -> Option<String> {
        match self {
            Self::RebootParam(_) if options.reboot_param.is_none() => {
                Some("no place for the reboot parameter was given".into())
            }
            Self::RebootParam(_) => None,
            _ if options.host.is_none() => {
                Some("it reaches outside of the target and was not allowed (--unsafe)".into())
            }
            _ => None,
        }
    }

    pub(super) fn run(&self, name: &str, work: &mut Work<'_>) -> Result<(), Error> {
        match self {
            Self::Execute(command) => {
                let host = work.host(name)?;
                let done = host.execute(OsStr::from_bytes(command));
                done.map_err(|error| failed(name, command, &error))
            }
            Self::RebootParam(param) => {
                work.reboot_param = Some(param.clone());
                Ok(())
            }
            // their data comes through a sink
            Self::PathWrite(_) | Self::PipeWrite(_) | Self::UbiVolumeWrite(_) => Ok(()),
        }
    }

    /// Opens what takes the data; None for a function that takes none.
    pub(super) fn sink<'f>(
        &'f self,
        name: &'f str,
        len: u64,
        work: &Work<'_>,
    ) -> Result<Option<Box<dyn Sink + 'f>>, Error> {
        let as_path = |path: &'f Bytes| Path::new(OsStr::from_bytes(path));
        let (outlet, what) = match self {
            Self::PathWrite(path) => (Outlet::File(as_path(path)), path),
            Self::PipeWrite(command) => (Outlet::Command(OsStr::from_bytes(command)), command),
            Self::UbiVolumeWrite(device) => (
                Outlet::UbiVolume {
                    path: as_path(device),
                    len,
                },
                device,
            ),
            Self::Execute(_) | Self::RebootParam(_) => return Ok(None),
        };
        let sink = work.host(name)?.open(outlet);
        Ok(Some(Box::new(HostStream {
            name,
            what,
            sink: sink.map_err(|error| failed(name, what, &error))?,
            len: 0,
        })))
    }
}

/// Takes data for something of the host.
struct HostStream<'f> {
    name: &'f str,
    what: &'f Bytes,
    sink: Box<dyn HostSink>,
    len: u64,
}

impl Sink for HostStream<'_> {
    fn write(&mut self, _: &mut Work<'_>, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let written = self.skip(offset).and_then(|()| self.sink.write_all(bytes));
        self.len += bytes.len() as u64;
        written.map_err(|error| failed(self.name, self.what, &error))
    }

    fn finish(mut self: Box<Self>, _: &mut Work<'_>, len: u64, _: u64) -> Result<(), Error> {
        let skipped = self.skip(len);
        let Self { name, what, sink, .. } = *self;
        let done = skipped.and_then(|()| sink.finish());
        done.map_err(|error| failed(name, what, &error))
    }
}

impl HostStream<'_> {
    fn skip(&mut self, offset: u64) -> io::Result<()> {
        let hole = offset.saturating_sub(self.len);
        self.len += hole;
        if hole > 0 { self.sink.skip(hole) } else { Ok(()) }
    }
}
