//! What making, verifying, applying and comparing archives costs, by the `muster-fwup` command, beside a `fwup` on the PATH
//! where there is one. Neither server nor database is started.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::spawn_blocking;

use super::image::{firmware, next_version};
use super::output::{Figures, median, note};
use super::process;
use super::tool::Tool;

/// Figures of making the archive: seconds with -9. Those with `reference` are of the `fwup` on the PATH.
const CREATE: [&str; 2] = ["fwup.create_s", "fwup.reference_create_s"];
/// Figures of applying it.
const APPLY: [&str; 9] = [
    // Data of a whole image per second, from a file in the page cache to a file, until it is durable.
    "fwup.apply_mb_per_s",
    // Its rate against writing the same bytes to a file, durably, and then hashing the archive by BLAKE2b-256, in turns.
    "fwup.apply_copy_ratio",
    // The same from a pipe, and its rate against the one from a file.
    "fwup.stream_apply_mb_per_s",
    "fwup.stream_apply_ratio",
    // Most memory that was resident meanwhile.
    "fwup.apply_rss_mb",
    "fwup.reference_apply_mb_per_s",
    "fwup.reference_stream_apply_mb_per_s",
    "fwup.reference_apply_rss_mb",
    // Our rate against the reference's, in turns.
    "fwup.reference_apply_ratio",
];
/// Figures of verifying it: data per second, and the rate against hashing the same from memory by BLAKE2b-256 with SIMD.
const VERIFY: [&str; 3] = [
    "fwup.verify_mb_per_s",
    "fwup.verify_hash_ratio",
    "fwup.reference_verify_mb_per_s",
];
/// Figures of a delta between roots of 100 MB: seconds, and the most memory that was resident meanwhile.
const DELTA: [&str; 2] = ["fwup.delta_s", "fwup.delta_rss_mb"];

/// Whether any figure of this file was asked for.
pub fn wanted(figures: &Figures) -> bool {
    [&CREATE[..], &APPLY, &VERIFY, &DELTA]
        .into_iter()
        .any(|names| figures.want_any(names))
}

/// Bytes of the kernel, which goes into a FAT file.
const KERNEL: usize = 17_000_000;
/// Bytes of the root file system, which is written raw.
const ROOT: usize = 200_000_000;
/// Bytes of the roots that a delta is made of.
const DELTA_ROOT: usize = 100_000_000;
/// Turns of each; the middle one counts.
const CREATES: usize = 3;
const TURNS: usize = 7;
const DELTAS: usize = 3;

/// The layout of a board with two slots, as current systems have it: no partition begins where a segment does.
const CONFIG: &str = r#"
define(BOOT_COUNT, 77261)
define(ROOT_COUNT, 524288)
define(BOOT_A, 63)
define-eval(BOOT_B, "${BOOT_A} + ${BOOT_COUNT}")
define-eval(ROOT_A, "${BOOT_B} + ${BOOT_COUNT}")
define-eval(ROOT_B, "${ROOT_A} + ${ROOT_COUNT}")
meta-product = "bench"
meta-version = "1.0.0"
meta-platform = "rpi4"
meta-architecture = "arm"
file-resource kernel.img { host-path = "kernel.img" }
file-resource rootfs.img { host-path = "rootfs.img" }
mbr mbr-a {
    partition 0 { block-offset = ${BOOT_A} block-count = ${BOOT_COUNT} type = 0xc boot = true }
    partition 1 { block-offset = ${ROOT_A} block-count = ${ROOT_COUNT} type = 0x83 }
}
mbr mbr-b {
    partition 0 { block-offset = ${BOOT_B} block-count = ${BOOT_COUNT} type = 0xc boot = true }
    partition 1 { block-offset = ${ROOT_B} block-count = ${ROOT_COUNT} type = 0x83 }
}
uboot-environment uboot-env { block-offset = 16 block-count = 16 }
task complete {
    on-init {
        mbr_write(mbr-a)
        fat_mkfs(${BOOT_A}, ${BOOT_COUNT})
        uboot_clearenv(uboot-env)
        uboot_setenv(uboot-env, "nerves_fw_active", "a")
    }
    on-resource kernel.img { fat_write(${BOOT_A}, "kernel.img") }
    on-resource rootfs.img { raw_write(${ROOT_A}) }
}
task upgrade.b {
    require-partition-offset(1, ${ROOT_A})
    on-init { fat_mkfs(${BOOT_B}, ${BOOT_COUNT}) }
    on-resource kernel.img { fat_write(${BOOT_B}, "kernel.img") }
    on-resource rootfs.img {
        delta-source-raw-offset = ${ROOT_A}
        delta-source-raw-count = ${ROOT_COUNT}
        raw_write(${ROOT_B})
    }
    on-finish {
        uboot_setenv(uboot-env, "nerves_fw_active", "b")
        mbr_write(mbr-b)
    }
}
"#;

/// Measures every figure that is wanted.
pub async fn measure(figures: &Figures, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let tool = Tool::new(process::program("muster-fwup", "MUSTER_FWUP")?, folder);
    let reference = Tool::on_path("fwup", folder);
    if reference.is_none() {
        note(format_args!("no fwup is on the PATH: its figures are left out"));
    }
    let lab = Arc::new(Lab {
        folder: folder.to_owned(),
        tool,
        reference,
    });
    // the others need the archive
    run(&lab, figures, Lab::create).await?;
    if figures.want_any(&APPLY) {
        run(&lab, figures, Lab::apply).await?;
    }
    if figures.want_any(&VERIFY) {
        run(&lab, figures, Lab::verify).await?;
    }
    if figures.want_any(&DELTA) {
        run(&lab, figures, Lab::delta).await?;
    }
    Ok(())
}

async fn run(lab: &Arc<Lab>, figures: &Figures, step: fn(&Lab, &Figures) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let (lab, figures) = (lab.clone(), figures.clone());
    spawn_blocking(move || step(&lab, &figures)).await?
}

struct Lab {
    folder: PathBuf,
    tool: Tool,
    reference: Option<Tool>,
}

/// Millions of bytes that one archive holds.
const MB: f64 = (KERNEL + ROOT) as f64 / 1e6;

impl Lab {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the data and the archive, several times if its figure is wanted.
    fn create(&self, figures: &Figures) -> anyhow::Result<()> {
        note(format_args!("making {MB} MB of firmware"));
        fs::write(self.path("kernel.img"), firmware(2, KERNEL))?;
        fs::write(self.path("rootfs.img"), firmware(1, ROOT))?;
        fs::write(self.path("fwup.conf"), CONFIG)?;
        let create = |tool: &Tool, name: &str| {
            tool.run(&[&"-c", &"-9", &"-f", &self.path("fwup.conf"), &"-o", &self.path(name)])
        };
        let turns = if figures.want("fwup.create_s") { CREATES } else { 1 };
        let seconds: anyhow::Result<Vec<f64>> = (0..turns).map(|_| create(&self.tool, "bench.fw")).collect();
        figures.print("fwup.create_s", median(seconds?), "s", turns);
        let len = self.path("bench.fw").metadata()?.len();
        note(format_args!("the archive has {len} bytes"));
        if let Some(reference) = self
            .reference
            .as_ref()
            .filter(|_| figures.want("fwup.reference_create_s"))
        {
            figures.print("fwup.reference_create_s", create(reference, "reference.fw")?, "s", 1);
        }
        Ok(())
    }

    /// A whole image is written anew in each turn, by each in turn, so that they share what else the machine does.
    fn apply(&self, figures: &Figures) -> anyhow::Result<()> {
        let (mut copies, mut files, mut pipes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut reference_files, mut reference_pipes) = (Vec::new(), Vec::new());
        // the first turn warms the page cache
        for turn in 0..=TURNS {
            let copy = self.copy_and_hash()?;
            let file = self.apply_file(&self.tool)?;
            let pipe = self.apply_pipe(&self.tool)?;
            let reference = match &self.reference {
                Some(reference) => Some((self.apply_file(reference)?, self.apply_pipe(reference)?)),
                None => None,
            };
            if turn > 0 {
                copies.push(copy);
                files.push(file);
                pipes.push(pipe);
                reference_files.extend(reference.map(|(file, _)| file));
                reference_pipes.extend(reference.map(|(_, pipe)| pipe));
            }
        }
        let ratio =
            |one: &[f64], other: &[f64]| median(one.iter().zip(other).map(|(one, other)| one / other).collect());
        figures.print("fwup.apply_copy_ratio", ratio(&copies, &files), "1", TURNS);
        figures.print("fwup.stream_apply_ratio", ratio(&files, &pipes), "1", TURNS);
        if let Some(reference) = &self.reference {
            figures.print(
                "fwup.reference_apply_ratio",
                ratio(&reference_files, &files),
                "1",
                TURNS,
            );
            let rate = |seconds| MB / median(seconds);
            figures.print("fwup.reference_apply_mb_per_s", rate(reference_files), "MB/s", TURNS);
            figures.print(
                "fwup.reference_stream_apply_mb_per_s",
                rate(reference_pipes),
                "MB/s",
                TURNS,
            );
            figures.print("fwup.reference_apply_rss_mb", self.apply_peak(reference)?, "MB", 1);
        }
        figures.print("fwup.apply_mb_per_s", MB / median(files), "MB/s", TURNS);
        figures.print("fwup.stream_apply_mb_per_s", MB / median(pipes), "MB/s", TURNS);
        let peaks: anyhow::Result<Vec<f64>> = (0..3).map(|_| self.apply_peak(&self.tool)).collect();
        figures.print("fwup.apply_rss_mb", median(peaks?), "MB", 3);
        Ok(())
    }

    /// Where an image goes, without what was there before.
    fn image(&self) -> anyhow::Result<PathBuf> {
        let image = self.path("disk.img");
        match fs::remove_file(&image) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(image),
        }
    }

    fn apply_file(&self, tool: &Tool) -> anyhow::Result<f64> {
        let (image, archive) = (self.image()?, self.path("bench.fw"));
        tool.run(&[&"-a", &"-q", &"-t", &"complete", &"-d", &image, &"-i", &archive])
    }

    fn apply_pipe(&self, tool: &Tool) -> anyhow::Result<f64> {
        let (image, archive) = (self.image()?, self.path("bench.fw"));
        tool.run_fed(&[&"-a", &"-q", &"-t", &"complete", &"-d", &image], &archive)
    }

    fn apply_peak(&self, tool: &Tool) -> anyhow::Result<f64> {
        let (image, archive) = (self.image()?, self.path("bench.fw"));
        tool.peak_mb(&[&"-a", &"-q", &"-t", &"complete", &"-d", &image, &"-i", &archive])
    }

    /// Seconds of the least that could be done: write the same bytes and make them durable, hash the archive.
    fn copy_and_hash(&self) -> anyhow::Result<f64> {
        let image = self.image()?;
        let mut buf = vec![0; 256 * 1024];
        let began = Instant::now();
        let mut out = File::create(image)?;
        for name in ["kernel.img", "rootfs.img"] {
            let mut file = File::open(self.path(name))?;
            while let count @ 1.. = file.read(&mut buf)? {
                out.write_all(&buf[..count])?;
            }
        }
        out.sync_data()?;
        let mut hash = blake2b_simd::Params::new().hash_length(32).to_state();
        let mut archive = File::open(self.path("bench.fw"))?;
        while let count @ 1.. = archive.read(&mut buf)? {
            hash.update(&buf[..count]);
        }
        std::hint::black_box(hash.finalize());
        Ok(began.elapsed().as_secs_f64())
    }

    fn verify(&self, figures: &Figures) -> anyhow::Result<()> {
        let verify = |tool: &Tool| tool.run(&[&"-V", &"-i", &self.path("bench.fw")]);
        let data = [fs::read(self.path("kernel.img"))?, fs::read(self.path("rootfs.img"))?];
        let (mut seconds, mut hashes, mut references) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let began = Instant::now();
            for bytes in &data {
                std::hint::black_box(blake2b_simd::Params::new().hash_length(32).hash(bytes));
            }
            hashes.push(began.elapsed().as_secs_f64());
            seconds.push(verify(&self.tool)?);
            references.extend(self.reference.as_ref().map(verify).transpose()?);
        }
        let ratios = hashes.iter().zip(&seconds).map(|(hash, verify)| hash / verify);
        figures.print("fwup.verify_hash_ratio", median(ratios.collect()), "1", TURNS);
        figures.print("fwup.verify_mb_per_s", MB / median(seconds), "MB/s", TURNS);
        if self.reference.is_some() {
            figures.print("fwup.reference_verify_mb_per_s", MB / median(references), "MB/s", TURNS);
        }
        Ok(())
    }

    fn delta(&self, figures: &Figures) -> anyhow::Result<()> {
        let old = firmware(3, DELTA_ROOT);
        let new = next_version(&old, 4);
        for (version, root) in [("old", old), ("new", new)] {
            let folder = self.path(version);
            fs::create_dir_all(&folder)?;
            fs::copy(self.path("kernel.img"), folder.join("kernel.img"))?;
            fs::write(folder.join("rootfs.img"), root)?;
            fs::write(folder.join("fwup.conf"), CONFIG.replace("1.0.0", version))?;
            let out = self.path(version).with_extension("fw");
            self.tool
                .run(&[&"-c", &"-1", &"-f", &folder.join("fwup.conf"), &"-o", &out])?;
        }
        let (from, to, out) = (self.path("old.fw"), self.path("new.fw"), self.path("delta.fw"));
        let words: [&dyn AsRef<OsStr>; 5] = [&"--delta", &from, &to, &"-o", &out];
        let delta = || self.tool.run(&words);
        let first = match delta() {
            Ok(first) => first,
            Err(error) => {
                note(format_args!("fwup.delta_s is NOT measured: {error:#}"));
                return Ok(());
            }
        };
        let rest: anyhow::Result<Vec<f64>> = (1..DELTAS).map(|_| delta()).collect();
        let mut seconds = rest?;
        seconds.push(first);
        let (whole, patch) = (to.metadata()?.len(), out.metadata()?.len());
        note(format_args!("the delta has {patch} bytes instead of {whole}"));
        anyhow::ensure!(patch < whole / 4, "the delta is too large: {patch} bytes");
        figures.print("fwup.delta_s", median(seconds), "s", DELTAS);
        let peak = self.tool.peak_mb(&words)?;
        figures.print("fwup.delta_rss_mb", peak, "MB", 1);
        Ok(())
    }
}
