//! Whether a job uses up its processes. Its control group refuses to start more, but what asks
//! again and again would go on until the job's time is over.

use std::os::unix::fs::MetadataExt;

/// How many there are, over time.
pub(super) struct Crowd {
    limit: u64,
    dense: bool,
}

impl Crowd {
    /// A limit of 0 is none.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            dense: false,
        }
    }

    /// Whether there was hardly room for more at the last look.
    pub(super) fn is_dense(&self) -> bool {
        self.dense
    }

    /// Why the job has to stop: there was hardly room at two looks in a row.
    pub(super) fn judge(&mut self) -> Option<String> {
        if self.limit == 0 {
            return None;
        }
        self.weigh(count())
    }

    fn weigh(&mut self, count: u64) -> Option<String> {
        let limit = self.limit;
        let before = std::mem::replace(&mut self.dense, count >= limit - limit / 16);
        (before && self.dense)
            .then(|| format!("the job used up its limit of {limit} processes, so it was stopped"))
    }
}

// Processes and threads that this process can see. A directory has two links and one for each
// directory in it, here one per thread.
fn count() -> u64 {
    let mut sum = 0;
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes()[0].is_ascii_digit()
            && let Ok(tasks) = std::fs::metadata(entry.path().join("task"))
        {
            sum += tasks.nlink().saturating_sub(2);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_many_is_no_reason_to_stop() {
        let mut crowd = Crowd::new(320);
        assert_eq!(crowd.weigh(300), None);
        assert_eq!(crowd.weigh(10), None);
        assert_eq!(crowd.weigh(319), None);
        assert!(crowd.is_dense());
        assert!(crowd.weigh(301).is_some_and(|why| why.contains("320")));
    }

    #[test]
    fn this_process_is_seen() {
        assert!(count() > 0);
    }
}
