use bytes::Bytes;

use super::*;

const MIB: usize = PART_BYTES as usize;

/// Two parts and a half, no two alike.
fn content() -> Vec<u8> {
    (0..MIB * 5 / 2).map(|index| (index / 1000) as u8).collect()
}

fn parts(content: &[u8]) -> Option<Parts> {
    let sums: Vec<String> = content
        .chunks(MIB)
        .map(|part| hex(&Sha256::digest(part)).to_uppercase())
        .collect();
    Parts::read(Some(content.len() as u64), &sums)
}

fn open(directory: &Path, parts: Option<Parts>) -> Cached {
    Cached::open(directory, "abc", Some(content().len() as u64), parts).unwrap()
}

fn give(cached: &mut Cached, pieces: &[(usize, &[u8])]) -> io::Result<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(64);
    for (at, bytes) in pieces {
        for (index, chunk) in bytes.chunks(100_000).enumerate() {
            let at = (at + index * 100_000) as u64;
            let bytes = Bytes::copy_from_slice(chunk);
            sender.try_send(Chunk::Data { at, bytes }).unwrap();
        }
    }
    drop(sender);
    let mut percents = Vec::new();
    cached.keep(receiver, |percent| percents.push(percent))?;
    Ok(percents)
}

#[test]
fn file_grows_at_its_end_and_goes_on_after_a_restart() {
    let (directory, content) = (tempfile::tempdir().unwrap(), content());
    let mut cached = open(directory.path(), None);
    assert_eq!(cached.missing(4).unwrap(), [(0, None)]);
    give(&mut cached, &[(0, &content[..MIB])]).unwrap();
    drop(cached);
    let mut cached = open(directory.path(), None);
    assert_eq!(cached.missing(4).unwrap(), [(MIB as u64, None)]);
    let percents = give(&mut cached, &[(MIB, &content[MIB..])]).unwrap();
    assert_eq!(percents.last(), Some(&100));
    assert_eq!(cached.missing(4).unwrap(), []);
    assert_eq!(cached.checksum().unwrap(), hex(&Sha256::digest(&content)));
}

#[test]
fn only_parts_that_are_right_count_after_a_restart() {
    let (directory, content) = (tempfile::tempdir().unwrap(), content());
    let mut cached = open(directory.path(), parts(&content));
    assert_eq!(cached.missing(1).unwrap(), [(0, None)]);
    give(&mut cached, &[(0, &content[..MIB + 5]), (2 * MIB, &content[2 * MIB..])]).unwrap();
    assert_eq!(cached.missing(1).unwrap(), [(MIB as u64, Some(2 * MIB as u64))]);
    let file = OpenOptions::new().write(true).open(cached.path()).unwrap();
    file.write_all_at(b"x", 17).unwrap();
    drop(cached);
    let mut cached = open(directory.path(), parts(&content));
    assert_eq!(cached.missing(1).unwrap(), [(0, Some(2 * MIB as u64))]);
    assert_eq!(cached.have().unwrap(), MIB as u64 / 2);
    give(&mut cached, &[(0, &content[..2 * MIB])]).unwrap();
    assert!(cached.proven());
    assert_eq!(cached.checksum().unwrap(), hex(&Sha256::digest(&content)));
}

#[test]
fn parts_are_fetched_in_as_many_pieces_as_wanted() {
    let (directory, content) = (tempfile::tempdir().unwrap(), content());
    let cached = open(directory.path(), parts(&content));
    let mib = MIB as u64;
    assert_eq!(cached.missing(2).unwrap(), [(0, Some(2 * mib)), (2 * mib, None)]);
    assert_eq!(
        cached.missing(9).unwrap(),
        [(0, Some(mib)), (mib, Some(2 * mib)), (2 * mib, None)]
    );
}

#[test]
fn part_that_stays_wrong_fails() {
    let (directory, content) = (tempfile::tempdir().unwrap(), content());
    let mut cached = open(directory.path(), parts(&content));
    let wrong = vec![0xff; MIB];
    for _ in 0..BAD_PART_MAX {
        give(&mut cached, &[(0, &wrong)]).unwrap();
        assert_eq!(cached.missing(1).unwrap(), [(0, None)]);
    }
    let failed = give(&mut cached, &[(0, &wrong)]).unwrap_err();
    assert_eq!(failed.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn one_file_is_kept_and_strangers_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("notes"), "mine").unwrap();
    fs::write(directory.path().join("old.fw.part"), "old").unwrap();
    let cached = Cached::open(directory.path(), "../../etc/passwd", None, None).unwrap();
    assert_eq!(cached.path().parent(), Some(directory.path()));
    let names = || fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names(), 2);
    cached.remove().unwrap();
    assert!(directory.path().join("notes").exists());
    assert_eq!(names(), 1);
}

#[test]
fn checksums_that_do_not_fit_are_no_parts() {
    let sum = "A".repeat(64);
    let sums = |count| vec![sum.clone(); count];
    assert!(Parts::read(Some(PART_BYTES), &sums(1)).is_some());
    assert!(Parts::read(Some(PART_BYTES + 1), &sums(1)).is_none());
    assert!(Parts::read(None, &sums(1)).is_none());
    assert!(Parts::read(Some(0), &sums(0)).is_none());
    assert!(Parts::read(Some(1), &["z".repeat(64)]).is_none());
}

#[test]
fn more_bytes_than_the_file_has_are_an_error() {
    let (directory, content) = (tempfile::tempdir().unwrap(), content());
    let mut cached = open(directory.path(), parts(&content));
    assert!(give(&mut cached, &[(content.len(), b"x")]).is_err());
}
