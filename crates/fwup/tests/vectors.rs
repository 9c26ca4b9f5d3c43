//! Runs every vector of `tests/fixtures/fwup/manifest.json` against the program.

#[cfg(test)]
mod harness;

use std::collections::BTreeMap;

use harness::{Outcome, Runner, set};

#[test]
fn every_vector_gives_what_fwup_gives() {
    let manifest = std::fs::read(set().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let vectors = manifest["vectors"].as_array().unwrap();
    let mut runner = Runner::new(vectors);
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let count = counts
            .entry(vector["category"].as_str().unwrap().to_owned())
            .or_default();
        match runner.outcome(name) {
            Outcome::Passed(_) => count.0 += 1,
            Outcome::Failed(why) => {
                count.1 += 1;
                failures.push(format!("{name}: {why}"));
            }
        }
    }
    for (category, (passed, failed)) in counts {
        println!("{category}: {passed} passed, {failed} failed");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
