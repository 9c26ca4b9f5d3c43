//! What functions work on.

use super::{ApplyOptions, Host, functions::Function, progress::Progress};
use crate::{error::Error, fat::Volumes, metaconf::Bytes, target::Cache};

/// What functions work on.
pub(super) struct Work<'t> {
    pub(super) cache: Cache<'t>,
    pub(super) volumes: Volumes,
    /// What `reboot_param` said last.
    pub(super) reboot_param: Option<Bytes>,
    pub(super) options: &'t ApplyOptions<'t>,
    /// Resources may be inflated in a thread beside this one.
    pub(super) beside: bool,
}

impl<'t> Work<'t> {
    pub(super) fn new(cache: Cache<'t>, options: &'t ApplyOptions<'t>, beside: bool) -> Self {
        Self {
            cache,
            volumes: Volumes::default(),
            reboot_param: None,
            options,
            beside,
        }
    }

    /// Runs the functions of an event, which take no data; so much of the archive has been read.
    pub(super) fn run_all(
        &mut self,
        event: &str,
        functions: &[Function],
        read: u64,
        progress: &mut Progress<'_>,
    ) -> Result<(), Error> {
        functions.iter().try_for_each(|function| {
            let done = function.run(self, progress);
            done.map_err(|error| error.at_function(event, function.name, read))
        })
    }

    /// What may reach outside of the target on behalf of a function.
    pub(super) fn host(&self, function: &str) -> Result<&'t dyn Host, Error> {
        self.options.host.ok_or_else(|| Error::HostFunctionFailed {
            function: function.to_owned(),
            reason: "nothing outside of the target may be reached".to_owned(),
        })
    }

    /// Makes everything durable, and then leaves the parameter for the next boot where the caller wants it: the boot
    /// that it asks for must find all that was written.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.cache.flush()?;
        let (Some(param), Some(path)) = (self.reboot_param.take(), &self.options.reboot_param) else {
            return Ok(());
        };
        std::fs::write(path, param).map_err(|error| Error::HostFunctionFailed {
            function: "reboot_param".to_owned(),
            reason: format!("{}: {error}", path.display()),
        })
    }

    /// Forgets everything that was not written.
    pub(super) fn discard(&mut self) {
        self.cache.discard();
        self.volumes = Volumes::default();
        self.reboot_param = None;
    }
}
