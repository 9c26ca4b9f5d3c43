//! The extension `health`: what `/proc` and `/sys` say of the device, by the names of device-link §3.5.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_link::HealthReport;
use time::OffsetDateTime;

use crate::clock::Now;

/// The processor is watched for so long.
const SAMPLE: Duration = Duration::from_millis(500);
const STAT: &str = "/proc/stat";
const THERMAL: &str = "/sys/class/thermal/thermal_zone0/temp";

/// What a report holds besides the numbers.
#[derive(Debug, Clone, Default)]
pub struct Reporter {
    /// The disk on which this path lies is reported.
    pub disk: PathBuf,
    /// What the configuration tells.
    pub metadata: BTreeMap<String, String>,
}

/// Collects a report. What the system does not tell is left out.
pub async fn report(reporter: Reporter, alarms: BTreeMap<String, String>, now: Now) -> HealthReport {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let before = Cpu::parse(&read(STAT));
    tokio::time::sleep(SAMPLE).await;
    let busy = before.zip(Cpu::parse(&read(STAT)));
    let mut metrics = BTreeMap::new();
    let temperature = read(THERMAL).trim().parse().ok().map(|milli: f64| milli / 1000.0);
    let usage = busy.and_then(|(before, after)| after.usage_since(&before));
    for (name, value) in [("cpu_temp", temperature), ("cpu_usage_percent", usage)] {
        metrics.extend(value.map(|value| (name.to_owned(), tenths(value))));
    }
    metrics.extend(load(&read("/proc/loadavg")));
    metrics.extend(memory(&read("/proc/meminfo")));
    metrics.extend(disk(&reporter.disk));
    let nanos = i128::from(now.wall_ms) * 1_000_000;
    HealthReport {
        timestamp: OffsetDateTime::from_unix_timestamp_nanos(nanos).ok(),
        metadata: reporter.metadata,
        alarms,
        metrics,
        ..HealthReport::default()
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The processors' time since they were started, in ticks.
#[derive(Debug, PartialEq, Eq)]
struct Cpu {
    idle: u64,
    all: u64,
}

impl Cpu {
    /// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. Guests count in user already.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line
            .split_whitespace()
            .take(8)
            .map_while(|tick| tick.parse().ok())
            .collect();
        let idle = ticks.get(3)? + ticks.get(4).unwrap_or(&0);
        Some(Self {
            idle,
            all: ticks.iter().sum(),
        })
    }

    fn usage_since(&self, before: &Self) -> Option<f64> {
        let all = self.all.checked_sub(before.all).filter(|all| *all > 0)?;
        let idle = self.idle.saturating_sub(before.idle).min(all);
        Some((all - idle) as f64 * 100.0 / all as f64)
    }
}

fn load(loadavg: &str) -> Vec<(String, f64)> {
    let names = ["load_1min", "load_5min", "load_15min"];
    let values = loadavg.split_whitespace().map_while(|value| value.parse().ok());
    names.into_iter().map(str::to_owned).zip(values).collect()
}

/// Used is what cannot be had: total less available.
fn memory(meminfo: &str) -> Vec<(String, f64)> {
    let kib = |name: &str| -> Option<u64> {
        let line = meminfo
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let (Some(total), Some(available)) = (kib("MemTotal").filter(|total| *total > 0), kib("MemAvailable")) else {
        return Vec::new();
    };
    let used = total.saturating_sub(available);
    let whole = |value: u64| value as f64;
    vec![
        ("mem_size_mb".to_owned(), whole(total / 1024)),
        ("mem_used_mb".to_owned(), whole(used / 1024)),
        (
            "mem_used_percent".to_owned(),
            (whole(used) * 100.0 / whole(total)).round(),
        ),
    ]
}

/// Available is what programs without privileges can still write; used is the share of what they could ever have.
fn disk(path: &Path) -> Vec<(String, f64)> {
    let Ok(space) = nix::sys::statvfs::statvfs(path) else {
        return Vec::new();
    };
    let kib = |blocks: u64| blocks.saturating_mul(space.fragment_size()) / 1024;
    let (total, available) = (kib(space.blocks()), kib(space.blocks_available()));
    let used = kib(space.blocks().saturating_sub(space.blocks_free()));
    let usable = used + available;
    if usable == 0 {
        return Vec::new();
    }
    vec![
        ("disk_total_kb".to_owned(), total as f64),
        ("disk_available_kb".to_owned(), available as f64),
        (
            "disk_used_percentage".to_owned(),
            (used as f64 * 100.0 / usable as f64).ceil(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_is_what_was_busy_between_two_looks() {
        let before = Cpu::parse("cpu  100 0 100 700 100 0 0 0 5 5\ncpu0 1 2\n").unwrap();
        assert_eq!(before, Cpu { idle: 800, all: 1000 });
        let after = Cpu::parse("cpu  150 0 125 825 100 0 0 0 5 5\n").unwrap();
        assert_eq!(after.usage_since(&before), Some(37.5));
        assert_eq!(before.usage_since(&before), None);
        assert_eq!(before.usage_since(&after), None);
        for odd in ["", "cpu", "cpu x", "intr 1 2 3 4"] {
            assert_eq!(Cpu::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn memory_used_is_what_cannot_be_had() {
        let meminfo = "MemTotal:        1000000 kB\nMemFree:          100000 kB\nMemAvailable:     750000 kB\n";
        let metrics: BTreeMap<_, _> = memory(meminfo).into_iter().collect();
        let whole = |name: &str| metrics[name] as u64;
        let all = (whole("mem_size_mb"), whole("mem_used_mb"), whole("mem_used_percent"));
        assert_eq!(all, (976, 244, 25));
        assert_eq!(memory("MemTotal: 5 kB"), []);
    }

    #[test]
    fn load_has_three_numbers() {
        let loads = load("0.42 0.40 0.38 1/123 4567\n");
        assert_eq!(loads[0], ("load_1min".to_owned(), 0.42));
        assert_eq!(loads.len(), 3);
        assert_eq!(load("x"), []);
    }

    #[tokio::test]
    async fn this_machine_has_every_number() {
        let reporter = Reporter {
            disk: "/".into(),
            metadata: BTreeMap::from([("placement".to_owned(), "roof".to_owned())]),
        };
        let now = crate::clock::now();
        let report = report(reporter, BTreeMap::new(), now).await;
        for name in [
            "load_15min",
            "mem_used_percent",
            "disk_total_kb",
            "disk_available_kb",
            "disk_used_percentage",
        ] {
            assert!(report.metrics.contains_key(name), "{name}: {report:?}");
        }
        assert!(report.metrics["disk_available_kb"] <= report.metrics["disk_total_kb"]);
        assert_eq!(report.metadata["placement"], "roof");
        assert!(report.timestamp.is_some());
    }
}
