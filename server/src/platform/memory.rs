//! Memory that the allocator keeps after many things were dropped at the same time.
//!
//! glibc gives back what lies at the end of its heap, and what thousands of links needed lies in between: after 9,000 links
//! had gone, 219 MB stayed until it was asked to look (docs/decisions/0009).

/// Gives memory that is not used back to the system. It looks through the whole heap: not for every request.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::malloc_trim(0);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "a function of the C library that takes a number and may be called from any thread at any time (malloc_trim(3))"
)]
mod glibc {
    unsafe extern "C" {
        pub safe fn malloc_trim(keep_at_end: usize) -> i32;
    }
}

/// Sees when much has gone: the tide of a number that rises and falls.
#[derive(Debug)]
pub struct Ebb {
    worth: usize,
    high: usize,
    last: usize,
}

impl Ebb {
    /// An ebb is worth something when the number fell by this much.
    pub fn of(worth: usize) -> Self {
        Self {
            worth,
            high: 0,
            last: 0,
        }
    }

    /// Whether it fell by so much since the last time, and falls no more.
    pub fn is_over(&mut self, now: usize) -> bool {
        let falls = now < std::mem::replace(&mut self.last, now);
        self.high = self.high.max(now);
        let is_over = !falls && self.high - now >= self.worth;
        if is_over {
            self.high = now;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ebb_is_seen_once_and_when_it_is_over() {
        let mut ebb = Ebb::of(1000);
        let seen = [0, 5000, 4500, 4500, 2000, 100, 100, 100, 900, 0, 0, 1200, 100, 150].map(|now| ebb.is_over(now));
        let at: Vec<usize> = (0..seen.len()).filter(|at| seen[*at]).collect();
        assert_eq!(at, [6, 13]);
    }

    #[test]
    fn what_was_dropped_is_given_back() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/statm").unwrap();
            text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        // Small pieces, and one at the end that keeps the heap from shrinking by itself.
        let mut many: Vec<Vec<u8>> = (0..100_000).map(|_| vec![1; 1000]).collect();
        let last = many.pop();
        let full = resident();
        drop(many);
        give_back();
        let left = resident();
        if cfg!(all(target_os = "linux", target_env = "gnu")) {
            assert!(left + 50_000_000 < full, "{full} and then {left}");
        }
        assert!(last.is_some());
    }
}
