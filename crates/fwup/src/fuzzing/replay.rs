//! Every file of the corpora, run by the tests on a stable compiler.

use super::{TARGETS, corpora};

#[test]
fn corpora_hold_no_input_that_fails() {
    for (name, body) in TARGETS {
        let folder = corpora().join(name);
        let mut count = 0;
        for file in std::fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            let data = std::fs::read(&path).unwrap();
            let done = std::panic::catch_unwind(|| body(&data));
            assert!(done.is_ok(), "{} fails", path.display());
            count += 1;
        }
        println!("{name}: {count} files");
        assert!(count > 10, "the corpus of {name} is not there");
    }
}
