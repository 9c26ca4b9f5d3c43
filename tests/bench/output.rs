//! The lines that the benchmarks print, and the notes beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

/// Prints the figures that were asked for.
#[derive(Clone, Debug)]
pub struct Figures {
    prefix: String,
    printed: Arc<AtomicUsize>,
}

impl Figures {
    /// Only those whose names begin so.
    pub fn only(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            printed: Arc::default(),
        }
    }

    /// Whether this figure was asked for.
    pub fn want(&self, name: &str) -> bool {
        name.starts_with(&self.prefix)
    }

    /// Whether one of these was asked for.
    pub fn want_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.want(name))
    }

    /// Prints a figure if it was asked for. `n` is how many things it was measured on.
    #[expect(clippy::print_stdout, reason = "these lines are the program's result")]
    pub fn print(&self, name: &str, value: f64, unit: &str, n: usize) {
        if self.want(name) {
            self.printed.fetch_add(1, Ordering::Relaxed);
            let value = (value * 1000.0).round() / 1000.0;
            println!("{}", json!({ "name": name, "value": value, "unit": unit, "n": n }));
        }
    }

    /// A prefix that no figure has is a mistake.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.printed.load(Ordering::Relaxed) > 0,
            "no figure's name begins with {:?}",
            self.prefix
        );
        Ok(())
    }
}

/// The middle one of some values, which are noted.
pub fn median(mut values: Vec<f64>) -> f64 {
    note(format_args!("{values:.2?}"));
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// What is being done, on standard error.
#[expect(clippy::print_stderr, reason = "this is where the program speaks to people")]
pub fn note(text: std::fmt::Arguments<'_>) {
    eprintln!("bench: {text}");
}

/// What went wrong, on standard error.
pub fn problem(error: &anyhow::Error) {
    note(format_args!("{error:#}"));
}
