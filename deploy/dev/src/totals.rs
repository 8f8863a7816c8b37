//! Sums the results of the test binaries of one `cargo test`.

use std::fmt;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TestTotals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl TestTotals {
    /// Adds a line like `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; …`; other lines are
    /// ignored.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some(result) = line.trim_start().strip_prefix("test result: ") else {
            return;
        };
        for clause in result.split(';') {
            let mut words = clause.split_whitespace().rev();
            let (Some(outcome), Some(count)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(count) = count.parse::<u64>() else {
                continue;
            };
            match outcome {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.skipped += count,
                _ => (),
            }
        }
    }

    /// Adds a test of the runner itself.
    pub(crate) fn add_test(&mut self, passed: bool) {
        self.passed += u64::from(passed);
        self.failed += u64::from(!passed);
    }
}

impl fmt::Display for TestTotals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(
            formatter,
            "tests: {passed} passed, {failed} failed, {skipped} skipped"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_binaries_are_summed() {
        let output = "\
running 3 tests
test a ... ok
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.05s
test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 40 filtered out; finished in 1.5s
\u{20}   Running tests/x.rs
test result: \u{1b}[32mok\u{1b}[0m. 3 passed; 0 failed; 4 ignored; 0 measured; 0 filtered out";
        let mut totals = TestTotals::default();
        output.lines().for_each(|line| totals.add_line(line));
        assert_eq!(
            totals,
            TestTotals {
                passed: 16,
                failed: 2,
                skipped: 5
            }
        );
        assert_eq!(totals.to_string(), "tests: 16 passed, 2 failed, 5 skipped");
    }

    #[test]
    fn other_lines_about_results_do_not_count() {
        let mut totals = TestTotals::default();
        totals.add_line("it said \"test result: ok. 1 passed\"");
        totals.add_line("test result: nonsense");
        assert_eq!(totals, TestTotals::default());
    }
}
