//! Percentages by fwup's rules (format §11.1).

use super::{ApplyOptions, Event};

/// Counts units of work and reports percentages that only rise.
pub(super) struct Progress<'a> {
    observer: &'a mut dyn FnMut(Event),
    low: u8,
    high: u8,
    total: u64,
    done: u64,
    last: Option<u8>,
}

impl<'a> Progress<'a> {
    /// Reports the lowest percentage.
    pub(super) fn start(options: &ApplyOptions<'_>, observer: &'a mut dyn FnMut(Event)) -> Self {
        let (low, high) = (options.progress_low, options.progress_high.max(options.progress_low));
        let mut progress = Self {
            observer,
            low,
            high,
            total: 0,
            done: 0,
            last: None,
        };
        progress.report(low);
        progress
    }

    pub(super) fn set_total(&mut self, units: u64) {
        self.total = units;
    }

    /// Counts units; the highest percentage is kept for [`Progress::finish`].
    pub(super) fn add(&mut self, units: u64) {
        self.done = self.done.saturating_add(units);
        let range = u128::from(self.high - self.low);
        if self.total > 0 && range > 0 {
            let part = (u128::from(self.done) * range / u128::from(self.total)).min(range - 1);
            self.report(self.low + part as u8);
        }
    }

    /// Everything is durable.
    pub(super) fn finish(&mut self) {
        self.report(self.high);
    }

    pub(super) fn info(&mut self, text: String) {
        (self.observer)(Event::Info(text));
    }

    fn report(&mut self, percent: u8) {
        if self.last.is_none_or(|last| percent > last) {
            self.last = Some(percent);
            (self.observer)(Event::Progress(percent));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(low: u8, high: u8, total: u64, steps: &[u64]) -> Vec<u8> {
        let mut seen = Vec::new();
        let mut observer = |event| {
            if let Event::Progress(percent) = event {
                seen.push(percent);
            }
        };
        let options = ApplyOptions {
            progress_low: low,
            progress_high: high,
            ..ApplyOptions::default()
        };
        let mut progress = Progress::start(&options, &mut observer);
        progress.set_total(total);
        for units in steps {
            progress.add(*units);
        }
        progress.finish();
        seen
    }

    #[test]
    fn percentages_rise_and_the_last_is_kept_for_the_end() {
        assert_eq!(reported(0, 100, 0, &[]), [0, 100]);
        assert_eq!(reported(0, 100, 10, &[10]), [0, 99, 100]);
        assert_eq!(reported(20, 70, 4, &[1, 0, 1, 2, 9]), [20, 32, 45, 69, 70]);
        assert_eq!(reported(0, 100, u64::MAX, &[u64::MAX, 1]), [0, 99, 100]);
    }
}
