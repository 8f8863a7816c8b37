//! Counts the results of requests and sockets.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::books::CallBooks;

/// Greatest number of failures that are printed.
const SHOWN_MAX: usize = 20;

/// The counters, which all tasks share.
#[derive(Default)]
pub(crate) struct RequestTally(Mutex<TallyCounts>);

#[derive(Default)]
struct TallyCounts {
    answered: u64,
    answered_at_once: u64,
    longest: Duration,
    longest_retried: Duration,
    /// 503s by their code.
    unavailable: BTreeMap<String, u64>,
    /// Closed sockets by their code.
    closed: BTreeMap<u16, u64>,
    longest_away: Duration,
    messages: u64,
    logins: u64,
    failures: Vec<String>,
}

impl RequestTally {
    fn counts(&self) -> MutexGuard<'_, TallyCounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of answered requests.
    pub(crate) fn count_answers(&self) -> u64 {
        self.counts().answered
    }

    /// Records an answer after this number of failed attempts.
    pub(crate) fn record_answer(&self, retries: u32, took: Duration) {
        let mut counts = self.counts();
        counts.answered += 1;
        if retries == 0 {
            counts.answered_at_once += 1;
            counts.longest = counts.longest.max(took);
        } else {
            counts.longest_retried = counts.longest_retried.max(took);
        }
    }

    /// Records a 503 with its code.
    pub(crate) fn record_503(&self, code: &str) {
        *self
            .counts()
            .unavailable
            .entry(code.to_owned())
            .or_default() += 1;
    }

    /// Records the close of a socket with this code.
    pub(crate) fn record_close(&self, code: u16) {
        *self.counts().closed.entry(code).or_default() += 1;
    }

    /// Records a reconnect.
    pub(crate) fn record_reconnect(&self, away: Duration) {
        let mut counts = self.counts();
        counts.longest_away = counts.longest_away.max(away);
    }

    /// Records a message.
    pub(crate) fn record_message(&self) {
        self.counts().messages += 1;
    }

    /// Records a login.
    pub(crate) fn record_login(&self) {
        self.counts().logins += 1;
    }

    /// Records a failure.
    pub(crate) fn record_failure(&self, failure: String) {
        self.counts().failures.push(failure);
    }

    /// Prints the report; returns the number of failures.
    pub(crate) fn print_report(&self, books: &CallBooks, requests: u64, took: Duration) -> usize {
        let counts = self.counts();
        let retried = counts.answered - counts.answered_at_once;
        let list = |counts: &BTreeMap<String, u64>| -> String {
            let each: Vec<String> = counts
                .iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            each.join(", ")
        };
        let closed: BTreeMap<String, u64> = counts
            .closed
            .iter()
            .map(|(code, count)| (format!("with {code}"), *count))
            .collect();
        println!(
            "\nEvery process restarted in {:.0} s, under load:",
            took.as_secs_f64()
        );
        println!(
            "  requests   {requests} answered, {retried} of them after a 503 ({})",
            list(&counts.unavailable)
        );
        println!(
            "             the slowest took {:.2} s; with its repetitions {:.2} s",
            counts.longest.as_secs_f64(),
            counts.longest_retried.as_secs_f64()
        );
        println!(
            "  calls      {} live all along, none dropped: {}",
            books.long_calls,
            books.dropped == 0
        );
        println!(
            "             {} made meanwhile; {} minutes paid, {} lost",
            books.short_calls, books.minutes, books.minutes_lost
        );
        println!(
            "  sockets    closed {}; the longest reconnect took {:.2} s",
            list(&closed),
            counts.longest_away.as_secs_f64()
        );
        println!("             {} messages received", counts.messages);
        println!("  logins     {} new users", counts.logins);
        println!("  failures   {}", counts.failures.len());
        for failure in counts.failures.iter().take(SHOWN_MAX) {
            println!("             {failure}");
        }
        counts.failures.len()
    }
}
