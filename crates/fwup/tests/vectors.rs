//! Runs every vector of `tests/fixtures/fwup/manifest.json` against the program.

#[cfg(test)]
mod harness;

use std::collections::{BTreeMap, BTreeSet};

use harness::{Outcome, Runner, set};

/// Vectors that need what is not there yet. Each must fail, so that the list stays true.
const GAPS: &[&str] = &[
    // deltas, and what begins with one
    "delta-raw",
    "delta-raw-dialects",
    "delta-fat",
    "delta-mixed",
    "delta-stdin",
    "kiosk-5-delta-a",
    "kiosk-6-validate-prevent-revert",
    "kiosk-7-revert",
    "inspect-kiosk-delta-1.1.0-1.2.0",
    "cipher-delta",
    "cipher-delta-odd",
];

#[test]
fn every_vector_gives_what_fwup_gives() {
    let manifest = std::fs::read(set().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let vectors = manifest["vectors"].as_array().unwrap();
    let mut runner = Runner::new(vectors);
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut passed_gaps: Vec<&str> = Vec::new();
    let gaps: BTreeSet<&str> = GAPS.iter().copied().collect();
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let count = counts
            .entry(vector["category"].as_str().unwrap().to_owned())
            .or_default();
        match runner.outcome(name) {
            Outcome::Passed(_) => {
                count.0 += 1;
                passed_gaps.extend(gaps.get(name).copied());
            }
            Outcome::Failed(why) => {
                count.1 += 1;
                if !gaps.contains(name) {
                    failures.push(format!("{name}: {why}"));
                }
            }
        }
    }
    for (category, (passed, failed)) in counts {
        println!("{category}: {passed} passed, {failed} failed");
    }
    assert!(
        GAPS.iter()
            .all(|gap| vectors.iter().any(|vector| vector["name"] == *gap)),
        "a gap that is no vector"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(
        passed_gaps.is_empty(),
        "these pass now, take them off the list: {passed_gaps:?}"
    );
}
