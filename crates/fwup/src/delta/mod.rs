//! Making a delta out of two archives (format §10).
//!
//! A delta is the new archive with patches in the place of some resources: `meta.conf`, and so the signature and the UUID,
//! stay as they are. `plan` decides which resources may be patches, `patch` makes one.

mod patch;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom, Write},
};

use crate::{
    apply::{delta::patch_len, resource::Resource},
    archive::{Head, config_of, metadata, read_head},
    caps,
    create::add_head,
    env::Env,
    error::Error,
    metaconf::{Section, text},
    metadata::{Metadata, firmware_uuid},
    version,
    zip::{Entry, NewEntry, Written, ZipReader, ZipWriter, deflated, resource_name},
};
use patch::{Bytes, Old, PatchMaker};
use plan::{Plan, plan};

/// How a delta is made.
#[derive(Clone, Debug)]
pub struct DeltaOptions {
    /// Deflate level, 1 (fast) to 9 (small).
    pub compression: u8,
    /// What the names of the tasks begin with that devices run.
    pub tasks: String,
    /// Leaves out resources that none of these tasks uses. `fwup -V` finds fault with such an archive.
    pub drop_unused: bool,
    /// What `${NAME}` in the two `meta.conf` may mean. Secrets need not be known.
    pub env: Env,
}

impl Default for DeltaOptions {
    fn default() -> Self {
        Self {
            compression: 9,
            tasks: "upgrade".to_owned(),
            drop_unused: false,
            env: Env::new(),
        }
    }
}

/// What became of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeltaChoice {
    /// A patch of so many bytes stands in its place.
    Patch {
        /// Bytes of the patch, not compressed.
        size: u64,
    },
    /// It stayed as it is.
    Whole {
        /// Why.
        reason: String,
    },
    /// It was left out.
    Dropped,
}

/// A resource of the new archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaResource {
    /// Name, as `file-resource` states it.
    pub name: String,
    /// Bytes of the resource.
    pub size: u64,
    /// Bytes that it takes in the new archive.
    pub full: u64,
    /// Bytes that it, or its patch, takes in the delta.
    pub packed: u64,
    /// What was done with it.
    pub choice: DeltaChoice,
}

/// A delta that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaReport {
    /// The metadata of the new archive, which is that of the delta.
    pub metadata: Metadata,
    /// Its resources, in the order of the archive.
    pub resources: Vec<DeltaResource>,
    /// Bytes of the new archive.
    pub full: u64,
    /// Bytes of the delta.
    pub packed: u64,
    /// The version of fwup that a device must have to apply it.
    pub fwup_version: String,
}

/// Makes an archive that turns a device with the firmware `old` into one with the firmware `new`: a patch stands for each
/// resource for which that pays and for which the tasks of both archives allow it.
///
/// Memory stays below 150 MB; where the old resource is larger than 104 MiB, what a window of the patch is made from lies
/// near it in the old one. Patches that do not fit into memory wait in a temporary file. Windows are made in threads that
/// end before the call does.
///
/// # Errors
/// [`Error::NoDelta`] when a delta is not possible or would not be smaller; what was written is then of no use, as with any
/// other error. Else what is wrong with one of the archives, or [`Error::Output`].
pub fn delta<O, N, W>(mut old: O, new: N, out: W, options: &DeltaOptions) -> Result<DeltaReport, Error>
where
    O: Read + Seek,
    N: Read + Seek,
    W: Write,
{
    let mut old = OldArchive::open(&mut old, &options.env)?;
    let file = RefCell::new(new);
    let full = file.borrow_mut().seek(SeekFrom::End(0)).map_err(source_failed)?;
    let mut zip = ZipReader::new(At { file: &file, offset: 0 });
    let head = read_head(&mut zip)?;
    let (config, metadata) = understood(&head, &options.env)?;
    compare(&old, &config, &metadata)?;

    let mut maker = Maker {
        config: &config,
        options,
        file: &file,
        writer: ZipWriter::new(out, options.compression),
        resources: Vec::new(),
        version: [0; 3],
    };
    add_head(&mut maker.writer, &head.meta_conf, head.mtime, head.signature.as_ref())?;
    while let Some(entry) = zip.next_entry()? {
        if !entry.name.ends_with('/') {
            maker.entry(&mut zip, &entry, &mut old)?;
        }
    }
    let kept = |section: &&Section| maker.resources.iter().any(|kept| kept.name.as_bytes() == section.title);
    if let Some(missing) = config.sections("file-resource").find(|section| !kept(section)) {
        return Err(Error::MissingResource {
            resource: text(&missing.title),
            reason: "is declared in meta.conf but not in the archive",
        });
    }
    maker.finish(metadata, full)
}

fn source_failed(source: io::Error) -> Error {
    Error::Source { offset: 0, source }
}

fn no_delta(reason: impl Into<String>) -> Error {
    Error::NoDelta { reason: reason.into() }
}

fn understood(head: &Head, env: &Env) -> Result<(Section, Metadata), Error> {
    let uuid = firmware_uuid(&head.meta_conf);
    let config = config_of(&head.meta_conf, uuid, env)?;
    let metadata = metadata(&config, uuid, head.mtime)?;
    Ok((config, metadata))
}

/// Whether the two archives are of the same kind, and differ.
fn compare<R>(old: &OldArchive<'_, R>, config: &Section, metadata: &Metadata) -> Result<(), Error> {
    let pairs = [
        ("product", &old.metadata.product, &metadata.product),
        ("platform", &old.metadata.platform, &metadata.platform),
        ("architecture", &old.metadata.architecture, &metadata.architecture),
    ];
    for (what, before, after) in pairs {
        if before != after {
            let shown = |value: &Option<String>| value.clone().unwrap_or_default();
            let (before, after) = (shown(before), shown(after));
            return Err(no_delta(format!(
                "the {what} of the old firmware is '{before}', that of the new one '{after}'"
            )));
        }
    }
    let hashes = |config: &Section| -> BTreeMap<Vec<u8>, Vec<u8>> {
        let hash = |section: &Section| section.text("blake2b-256").unwrap_or_default().to_vec();
        let sections = config.sections("file-resource");
        sections.map(|section| (section.title.clone(), hash(section))).collect()
    };
    if hashes(&old.config) == hashes(config) {
        return Err(no_delta("no resource has changed"));
    }
    Ok(())
}

/// A reader of a file that others read too.
struct At<'a, R> {
    file: &'a RefCell<R>,
    offset: u64,
}

impl<R: Read + Seek> Read for At<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut file = self.file.borrow_mut();
        file.seek(SeekFrom::Start(self.offset))?;
        let count = file.read(buf)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// The archive of the firmware that a device has. Its entries are found as they are asked for, mostly in their order.
struct OldArchive<'a, R> {
    file: &'a mut R,
    config: Section,
    metadata: Metadata,
    /// Where the headers of entries are that were seen.
    seen: BTreeMap<String, u64>,
    /// The first header that was not seen yet; None behind the last one.
    next: Option<u64>,
}

impl<'a, R: Read + Seek> OldArchive<'a, R> {
    fn open(file: &'a mut R, env: &Env) -> Result<Self, Error> {
        let mut zip = reader_at(file, 0)?;
        let head = read_head(&mut zip)?;
        let next = Some(zip.offset());
        let (config, metadata) = understood(&head, env)?;
        Ok(Self {
            file,
            config,
            metadata,
            seen: BTreeMap::new(),
            next,
        })
    }

    /// Finds the entry of a resource and stands before its bytes.
    fn resource(&mut self, name: &str) -> Result<Option<(Entry, ZipReader<&mut R>)>, Error> {
        let mut at = self.seen.get(name).copied();
        while at.is_none() {
            let Some(next) = self.next else { return Ok(None) };
            let mut zip = reader_at(self.file, next)?;
            let Some(entry) = zip.next_entry()? else {
                self.next = None;
                continue;
            };
            let found = resource_name(&entry.name);
            if found == name {
                at = Some(next);
            } else {
                zip.pass_over(u64::MAX)?;
                self.next = Some(next + zip.offset());
            }
            self.seen.insert(found, next);
        }
        let Some(at) = at else { return Ok(None) };
        let mut zip = reader_at(self.file, at)?;
        Ok(zip.next_entry()?.map(|entry| (entry, zip)))
    }

    /// What was read last ended at this offset behind its header.
    fn passed(&mut self, name: &str, len: u64) {
        if let Some(next) = self.next.filter(|next| self.seen.get(name) == Some(next)) {
            self.next = Some(next + len);
        }
    }
}

fn reader_at<R: Read + Seek>(file: &mut R, offset: u64) -> Result<ZipReader<&mut R>, Error> {
    let failed = |source| Error::Source { offset, source };
    file.seek(SeekFrom::Start(offset)).map_err(failed)?;
    Ok(ZipReader::new(file))
}

/// Writes the delta.
struct Maker<'a, N, W> {
    config: &'a Section,
    options: &'a DeltaOptions,
    file: &'a RefCell<N>,
    writer: ZipWriter<W>,
    resources: Vec<DeltaResource>,
    version: [u64; 3],
}

/// A patch that was made: where it waits, deflated, and its sizes.
struct Made {
    file: tempfile::SpooledTempFile,
    written: Written,
}

impl<N: Read + Seek, W: Write> Maker<'_, N, W> {
    /// Decides about an entry of the new archive and writes what takes its place.
    fn entry<O: Read + Seek>(
        &mut self,
        zip: &mut ZipReader<At<'_, N>>,
        entry: &Entry,
        old: &mut OldArchive<'_, O>,
    ) -> Result<(), Error> {
        let name = resource_name(&entry.name);
        let section = self.config.find("file-resource", name.as_bytes());
        let section = section.ok_or_else(|| Error::UndeclaredEntry {
            name: entry.name.clone(),
        })?;
        let resource = Resource::new(section)?;
        refuse_delta(entry, &resource)?;
        let begin = zip.offset();
        let plan = plan(name.as_bytes(), &old.config, self.config, &self.options.tasks);
        let made = match plan {
            Plan::Patch(_) => self.patch(zip, &resource, old)?,
            _ => None,
        };
        if made.is_none() {
            Bytes::new(zip, &resource).drain()?;
        }
        let packed = zip.packed().ok_or_else(|| Error::MissingResource {
            resource: name.clone(),
            reason: "has no end in the archive",
        })?;
        let (stored, written) = packed;
        let smaller = |made: &Made| made.written.size < written.size && made.written.compressed < written.compressed;
        let (patch, choice) = match (plan, made) {
            (Plan::Unused, _) if self.options.drop_unused => (None, DeltaChoice::Dropped),
            (Plan::Unused, _) => (None, whole("no task of a device uses it")),
            (Plan::Whole(reason), _) => (None, whole(reason)),
            (Plan::Patch(_), None) => (None, whole("the old archive does not hold it")),
            (Plan::Patch(needed), Some(made)) if smaller(&made) => {
                self.version = self.version.max(needed);
                let size = made.written.size;
                (Some(made), DeltaChoice::Patch { size })
            }
            (Plan::Patch(_), Some(_)) => (None, whole("a patch would not be smaller")),
        };
        let new_entry = |size, stored| NewEntry {
            name: &entry.name,
            size: Some(size),
            mtime: None,
            stored,
        };
        let packed = match (patch, &choice) {
            (_, DeltaChoice::Dropped) => 0,
            (Some(mut made), _) => {
                made.file.rewind().map_err(Error::Output)?;
                let new = new_entry(made.written.size, false);
                self.writer.add_packed(&new, made.written, &mut made.file)?;
                made.written.compressed
            }
            (None, _) => {
                let at = At {
                    file: self.file,
                    offset: begin,
                };
                let new = new_entry(written.size, stored);
                self.writer
                    .add_packed(&new, written, &mut at.take(written.compressed))?;
                written.compressed
            }
        };
        self.resources.push(DeltaResource {
            name,
            size: resource.data_len(),
            full: written.compressed,
            packed,
            choice,
        });
        Ok(())
    }

    /// Makes the patch of a resource; None when the old archive does not hold it.
    fn patch<O: Read + Seek>(
        &self,
        zip: &mut ZipReader<At<'_, N>>,
        resource: &Resource,
        old: &mut OldArchive<'_, O>,
    ) -> Result<Option<Made>, Error> {
        let Some(before) = old.config.find("file-resource", resource.name.as_bytes()) else {
            return Ok(None);
        };
        let before = Resource::new(before)?;
        let Some((entry, mut old_zip)) = old.resource(&resource.name)? else {
            return Ok(None);
        };
        refuse_delta(&entry, &before)?;
        let mut file = tempfile::spooled_tempfile(caps::DELTA_PATCH_HELD);
        let mut old_bytes = Bytes::new(&mut old_zip, &before);
        let mut new_bytes = Bytes::new(zip, resource);
        let written = {
            let mut next_old = |buf: &mut [u8]| old_bytes.fill(buf);
            let mut next_new = |buf: &mut [u8]| new_bytes.fill(buf);
            let old = Old::new(&mut next_old, before.data_len());
            let mut maker = PatchMaker::new(old, &mut next_new);
            deflated(self.options.compression, &mut |buf| maker.read(buf), &mut file)?
        };
        old_bytes.drain()?;
        let len = old_zip.offset();
        old.passed(&resource.name, len);
        Ok(Some(Made { file, written }))
    }

    fn finish(self, metadata: Metadata, full: u64) -> Result<DeltaReport, Error> {
        if !self
            .resources
            .iter()
            .any(|resource| matches!(resource.choice, DeltaChoice::Patch { .. }))
        {
            let reason = |resource: &DeltaResource| match &resource.choice {
                DeltaChoice::Whole { reason } => Some(format!("{}: {reason}", resource.name)),
                _ => None,
            };
            let reasons: Vec<String> = self.resources.iter().filter_map(reason).collect();
            return Err(no_delta(format!("no resource can be a patch ({})", reasons.join("; "))));
        }
        let packed = self.writer.finish()?;
        if packed >= full {
            return Err(no_delta(format!(
                "it would have {packed} bytes, the new firmware has {full}"
            )));
        }
        let required = metadata.require_fwup_version.as_deref().and_then(version::parse);
        let [major, minor, patch] = self.version.max(required.unwrap_or_default());
        Ok(DeltaReport {
            metadata,
            resources: self.resources,
            full,
            packed,
            fwup_version: format!("{major}.{minor}.{patch}"),
        })
    }
}

fn whole(reason: impl Into<String>) -> DeltaChoice {
    DeltaChoice::Whole { reason: reason.into() }
}

/// A delta of a delta cannot be made.
fn refuse_delta(entry: &Entry, resource: &Resource) -> Result<(), Error> {
    match patch_len(entry, resource) {
        Some(_) => Err(Error::DeltaUnsupported {
            resource: resource.name.clone(),
            reason: "make deltas from full archives".to_owned(),
        }),
        None => Ok(()),
    }
}
