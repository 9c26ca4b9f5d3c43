//! Runs vectors: prepares the image, makes the calls, compares.

mod check;

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// The folder of the set.
pub fn set() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/fwup")
        .canonicalize()
        .unwrap()
}

/// How a vector ended; a passed one leaves its image, if it made one.
#[derive(Clone, Debug)]
pub enum Outcome {
    Passed(Option<Vec<u8>>),
    Failed(String),
}

/// What a call did.
pub struct Done {
    pub status: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub before: Option<Vec<u8>>,
    pub after: Option<Vec<u8>>,
}

pub struct Runner<'a> {
    vectors: BTreeMap<&'a str, &'a Value>,
    done: BTreeMap<String, Outcome>,
}

impl<'a> Runner<'a> {
    pub fn new(vectors: &'a [Value]) -> Self {
        let named = vectors
            .iter()
            .map(|vector| (vector["name"].as_str().unwrap(), vector))
            .collect();
        Self {
            vectors: named,
            done: BTreeMap::new(),
        }
    }

    pub fn outcome(&mut self, name: &str) -> Outcome {
        if let Some(done) = self.done.get(name) {
            return done.clone();
        }
        let outcome = match self.run(self.vectors[name]) {
            Ok(image) => Outcome::Passed(image),
            Err(why) => Outcome::Failed(why),
        };
        self.done.insert(name.to_owned(), outcome.clone());
        outcome
    }

    fn start(&mut self, start: &Value) -> Result<Option<Vec<u8>>, String> {
        let size = start["size"].as_u64().unwrap_or(0) as usize;
        Ok(match start["kind"].as_str().unwrap() {
            "none" => None,
            "zero" => Some(vec![0; size]),
            "pattern" => Some(pattern(start["seed"].as_str().unwrap(), size)),
            _ => match self.outcome(start["name"].as_str().unwrap()) {
                Outcome::Passed(image) => image,
                Outcome::Failed(_) => return Err(format!("{} did not pass", start["name"])),
            },
        })
    }

    fn run(&mut self, vector: &Value) -> Result<Option<Vec<u8>>, String> {
        let work = TempDir::new().unwrap();
        let place = Place {
            tmp: work.path().join("outer/cwd"),
            img: work.path().join("target.img"),
        };
        fs::create_dir_all(&place.tmp).unwrap();
        if let Some(image) = self.start(&vector["start"])? {
            fs::write(&place.img, image).unwrap();
        }
        for (at, step) in vector["steps"].as_array().unwrap().iter().enumerate() {
            let done = place.call(step);
            check::check(&step["expect"], &done, &place).map_err(|why| format!("step {}: {why}", at + 1))?;
        }
        Ok(fs::read(&place.img).ok())
    }
}

/// The folders of one vector.
pub struct Place {
    pub tmp: PathBuf,
    img: PathBuf,
}

impl Place {
    pub fn fill(&self, text: &str) -> String {
        text.replace("{set}", set().to_str().unwrap())
            .replace("{tmp}", self.tmp.to_str().unwrap())
            .replace("{img}", self.img.to_str().unwrap())
    }

    fn call(&self, step: &Value) -> Done {
        for poke in step["poke"].as_array().into_iter().flatten() {
            let mut image = fs::read(&self.img).unwrap();
            let at = poke["offset"].as_u64().unwrap() as usize;
            for (index, pair) in poke["hex"].as_str().unwrap().as_bytes().chunks(2).enumerate() {
                image[at + index] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            }
            fs::write(&self.img, image).unwrap();
        }
        let before = fs::read(&self.img).ok();
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-fwup"));
        command.args(
            step["args"]
                .as_array()
                .unwrap()
                .iter()
                .map(|arg| self.fill(arg.as_str().unwrap())),
        );
        command
            .current_dir(&self.tmp)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TZ", "UTC");
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            command.env(name, self.fill(value.as_str().unwrap()));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), self.input(&step["stdin"]));
        // a program that ends early closes its end
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        let after = fs::read(&self.img).ok();
        Done {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: output.stderr,
            before,
            after,
        }
    }

    fn input(&self, stdin: &Value) -> Vec<u8> {
        let Some(file) = stdin["file"].as_str() else {
            return Vec::new();
        };
        let mut data = fs::read(self.fill(file)).unwrap();
        if let Some(cut) = stdin["cut"].as_u64() {
            data.truncate(cut as usize);
        }
        data.resize(data.len() + stdin["append_zeros"].as_u64().unwrap_or(0) as usize, 0);
        let Some(size) = stdin["framing"].as_u64() else {
            return data;
        };
        let framed = |part: &[u8]| [&(part.len() as u32).to_be_bytes()[..], part].concat();
        let mut frames: Vec<u8> = data.chunks(size as usize).flat_map(framed).collect();
        frames.extend([0; 4]);
        frames
    }
}

/// Bytes that look random: SHA-256 in counter mode.
fn pattern(seed: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    for count in 0.. {
        if bytes.len() >= size {
            break;
        }
        bytes.extend_from_slice(&Sha256::digest(format!("{seed}:{count}")));
    }
    bytes.truncate(size);
    bytes
}

/// The hexadecimal SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
