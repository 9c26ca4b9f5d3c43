//! An archive that is being read.

use std::io::Read;

use uuid::Uuid;

use crate::{
    apply::{
        self, Applied, ApplyOptions, Event, delta,
        resource::Resource,
        stream::{self, two_cores},
    },
    caps,
    env::Env,
    error::Error,
    keys::PublicKey,
    metaconf::{self, Section, text},
    metadata::{Metadata, firmware_uuid, format_date},
    nickname::nickname,
    target::BlockTarget,
    version,
    zip::{Entry, ZipReader, resource_name},
};

/// Name of the signature's entry.
pub(crate) const SIGNATURE_ENTRY: &str = "meta.conf.ed25519";
/// Name of the entry that describes everything.
pub(crate) const META_CONF_ENTRY: &str = "meta.conf";

/// What is known about an archive's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// There is none, and no key was given.
    Unsigned,
    /// There is one, but no key was given to check it.
    Unverified,
    /// This key made it.
    Good(PublicKey),
}

/// A resource of a verified archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceInfo {
    /// Name, as `file-resource` states it.
    pub name: String,
    /// Bytes of the resource, holes not counted.
    pub size: u64,
    /// Bytes of the patch, when the archive holds that instead of the resource.
    pub delta: Option<u64>,
}

/// What a verified archive holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The metadata.
    pub metadata: Metadata,
    /// The signature.
    pub signature: Signature,
    /// The resources in the order of the archive.
    pub resources: Vec<ResourceInfo>,
    /// The tasks in the order of `meta.conf`.
    pub tasks: Vec<String>,
}

impl Verified {
    /// Whether the archive is a delta: it can only be applied where the right old firmware is.
    pub fn is_delta(&self) -> bool {
        self.resources.iter().any(|resource| resource.delta.is_some())
    }
}

/// The beginning of an archive: what comes before the resources.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) signature: Option<[u8; caps::SIGNATURE_LEN]>,
    pub(crate) meta_conf: Vec<u8>,
    pub(crate) mtime: i64,
}

/// Reads the entries that come before the resources.
pub(crate) fn read_head<R: Read>(zip: &mut ZipReader<R>) -> Result<Head, Error> {
    let mut entry = first_entry(zip)?;
    let mut signature = None;
    if entry.name == SIGNATURE_ENTRY {
        let bytes = read_entry(zip, caps::SIGNATURE_LEN + 1)?;
        signature = Some(bytes.try_into().map_err(|_| Error::MalformedSignature)?);
        entry = first_entry(zip)?;
    }
    if entry.name != META_CONF_ENTRY {
        return Err(Error::NoMetadata { found: entry.name });
    }
    let meta_conf = read_entry(zip, caps::META_CONF_MAX)?;
    if !(caps::META_CONF_MIN..caps::META_CONF_MAX).contains(&meta_conf.len()) {
        let range = format!("{} to {} bytes", caps::META_CONF_MIN, caps::META_CONF_MAX - 1);
        return Err(Error::BadMetadata {
            line: 0,
            reason: format!("it must have {range}"),
        });
    }
    Ok(Head {
        signature,
        meta_conf,
        mtime: entry.mtime,
    })
}

fn first_entry<R: Read>(zip: &mut ZipReader<R>) -> Result<Entry, Error> {
    zip.next_entry()?.ok_or_else(|| Error::NoMetadata {
        found: "the end of the archive".into(),
    })
}

/// Reads the whole of a small entry, but not more than `max` bytes.
fn read_entry<R: Read>(zip: &mut ZipReader<R>, max: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; max];
    let mut done = 0;
    while done < max {
        match zip.read(&mut bytes[done..])? {
            0 => break,
            count => done += count,
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

/// Checks the signature by the keys given.
fn check_signature(head: &Head, keys: &[PublicKey]) -> Result<Signature, Error> {
    if keys.len() > caps::KEYS_MAX {
        return Err(Error::TooManyKeys { given: keys.len() });
    }
    let Some(signature) = &head.signature else {
        return if keys.is_empty() {
            Ok(Signature::Unsigned)
        } else {
            Err(Error::Unsigned)
        };
    };
    if keys.is_empty() {
        return Ok(Signature::Unverified);
    }
    let good = keys.iter().find(|key| key.verifies(&head.meta_conf, signature));
    good.cloned().map(Signature::Good).ok_or(Error::BadSignature)
}

/// Understands a `meta.conf`, which may name its own UUID.
pub(crate) fn config_of(meta_conf: &[u8], uuid: Uuid, env: &Env) -> Result<Section, Error> {
    let mut env = env.clone();
    env.set_firmware(uuid);
    metaconf::read(meta_conf, &env).map_err(|problem| Error::BadMetadata {
        line: problem.line,
        reason: problem.reason,
    })
}

/// Takes the metadata out of `meta.conf`.
pub(crate) fn metadata(config: &Section, uuid: Uuid, mtime: i64) -> Result<Metadata, Error> {
    let get = |name: &str| config.text(name).map(text).filter(|value| !value.is_empty());
    let other = |name: &str, computed: String| get(name).is_some_and(|stated| stated != computed);
    if other("meta-uuid", uuid.to_string()) || other("meta-nickname", nickname(uuid)) {
        let reason = "it may not state another meta-uuid or meta-nickname than its own".to_owned();
        return Err(Error::BadMetadata { line: 0, reason });
    }
    let required = get("require-fwup-version");
    if let Some(required) = &required {
        version::check(required)?;
    }
    Ok(Metadata {
        product: get("meta-product"),
        description: get("meta-description"),
        version: get("meta-version"),
        author: get("meta-author"),
        platform: get("meta-platform"),
        architecture: get("meta-architecture"),
        creation_date: get("meta-creation-date").or_else(|| Some(format_date(mtime))),
        fwup_version: get("meta-fwup-version"),
        vcs_identifier: get("meta-vcs-identifier"),
        misc: get("meta-misc"),
        require_fwup_version: required,
        uuid,
    })
}

/// An archive whose signature and `meta.conf` have been read; the resources follow.
#[derive(Debug)]
pub struct Archive<R> {
    zip: ZipReader<R>,
    config: Section,
    metadata: Metadata,
    signature: Signature,
    /// Large resources are inflated in a thread beside the caller's.
    pub(crate) beside: bool,
}

impl<R: Read> Archive<R> {
    /// Reads the signature and `meta.conf`. With at least one key an unsigned or wrongly signed archive is an error.
    ///
    /// Exactly as many bytes are read ahead as the reader hands out at a time, at most 64 KiB.
    ///
    /// # Errors
    /// Any kind that concerns the archive's beginning; nothing of a target is touched.
    pub fn open(reader: R, keys: &[PublicKey], env: &Env) -> Result<Self, Error> {
        let mut zip = ZipReader::new(reader);
        let head = read_head(&mut zip)?;
        let signature = check_signature(&head, keys)?;
        let uuid = firmware_uuid(&head.meta_conf);
        let config = config_of(&head.meta_conf, uuid, env)?;
        let metadata = metadata(&config, uuid, head.mtime)?;
        Ok(Self {
            zip,
            config,
            metadata,
            signature,
            beside: two_cores(),
        })
    }

    /// Does everything in the calling thread. Otherwise, where there are two cores, large resources are read and inflated in
    /// a thread beside it, which ends before the call does.
    #[must_use]
    pub fn in_one_thread(mut self) -> Self {
        self.beside = false;
        self
    }

    /// What the archive says about itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What is known about the signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The names of the tasks in the order of `meta.conf`; a name that is not UTF-8 is left out.
    pub fn tasks(&self) -> Vec<&str> {
        self.config
            .sections("task")
            .filter_map(|task| std::str::from_utf8(&task.title).ok())
            .collect()
    }

    /// Bytes of the archive that were used so far.
    pub fn offset(&self) -> u64 {
        self.zip.offset()
    }
}

impl<R: Read + Send> Archive<R> {
    /// Reads everything: each resource's length and hash, entry names, duplicates, undeclared entries.
    ///
    /// Of a delta only the header can be checked: whether its patches give the resources is seen where the old ones are.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(mut self) -> Result<Verified, Error> {
        let declared = self.config.sections("file-resource").map(Resource::new);
        let mut declared: Vec<Resource> = declared.collect::<Result<_, _>>()?;
        let mut resources = Vec::new();
        while let Some(entry) = self.zip.next_entry()? {
            if entry.name.ends_with('/') {
                continue;
            }
            let name = resource_name(&entry.name);
            let Some(at) = declared.iter().position(|resource| resource.name == name) else {
                return Err(Error::UndeclaredEntry { name: entry.name }.at("", self.zip.offset()));
            };
            let (resource, begin) = (declared.remove(at), self.zip.offset());
            let delta = delta::patch_len(&entry, &resource).filter(|_| !resource.is_sparse());
            let checked = match delta {
                Some(len) => delta::check(&mut self.zip, &resource, len),
                None => stream::consume(&mut self.zip, &resource, self.beside, &mut |_, _| Ok(())),
            };
            checked.map_err(|error| error.at(entry.name, begin))?;
            resources.push(ResourceInfo {
                name,
                size: resource.data_len(),
                delta,
            });
        }
        if let Some(resource) = declared.into_iter().next() {
            let reason = "is declared in meta.conf but not in the archive";
            return Err(Error::MissingResource {
                resource: resource.name,
                reason,
            });
        }
        let tasks = self.tasks().into_iter().map(str::to_owned).collect();
        Ok(Verified {
            metadata: self.metadata,
            signature: self.signature,
            resources,
            tasks,
        })
    }

    /// Applies the first task whose name starts with `task` and whose requirements hold.
    ///
    /// When it returns, everything is durable. The blocks that decide what is booted (partition table, U-Boot
    /// environment) are written last, between flushes. An error of the target is told only when a read that is under way
    /// has come back: a reader that may wait for long needs a limit of its own.
    ///
    /// # Errors
    /// The first thing that is wrong; [`Error::target_was_written`] tells whether the target may have changed.
    pub fn apply<T: BlockTarget>(
        mut self,
        target: &mut T,
        task: &str,
        options: &ApplyOptions<'_>,
        observer: &mut dyn FnMut(Event),
    ) -> Result<Applied, Error> {
        let task = apply::apply(
            &mut self.zip,
            &self.config,
            target,
            task,
            options,
            self.beside,
            observer,
        )?;
        Ok(Applied {
            task,
            metadata: self.metadata,
        })
    }
}
