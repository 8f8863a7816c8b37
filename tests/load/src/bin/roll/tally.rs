//! What happened to requests and sockets.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::load::Books;

/// Complaints that are printed, at most.
const SHOWN_MAX: usize = 20;

/// Counts; shared by everybody.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Counts>);

#[derive(Default)]
struct Counts {
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
    noticed: Vec<String>,
}

impl Tally {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests have been answered by now.
    pub(crate) fn requests(&self) -> u64 {
        self.counts().answered
    }

    /// A request has its answer, after so many tries that failed.
    pub(crate) fn answered(&self, retries: u32, took: Duration) {
        let mut counts = self.counts();
        counts.answered += 1;
        if retries == 0 {
            counts.answered_at_once += 1;
            counts.longest = counts.longest.max(took);
        } else {
            counts.longest_retried = counts.longest_retried.max(took);
        }
    }

    /// A try was answered with 503.
    pub(crate) fn was_503(&self, code: &str) {
        *self
            .counts()
            .unavailable
            .entry(code.to_owned())
            .or_default() += 1;
    }

    /// A socket was closed with this code.
    pub(crate) fn closed(&self, code: u16) {
        *self.counts().closed.entry(code).or_default() += 1;
    }

    /// A socket is open again.
    pub(crate) fn came_back(&self, away: Duration) {
        let mut counts = self.counts();
        counts.longest_away = counts.longest_away.max(away);
    }

    /// A socket heard something.
    pub(crate) fn heard(&self) {
        self.counts().messages += 1;
    }

    /// Somebody new is logged in.
    pub(crate) fn logged_in(&self) {
        self.counts().logins += 1;
    }

    /// Something that must not happen.
    pub(crate) fn noticed(&self, what: String) {
        self.counts().noticed.push(what);
    }

    /// Prints all of it; answers how much of it must not have happened.
    pub(crate) fn report(&self, books: &Books, requests: u64, took: Duration) -> usize {
        let counts = self.counts();
        let retried = counts.answered - counts.answered_at_once;
        let list = |counts: &BTreeMap<String, u64>| -> String {
            let each: Vec<String> = counts
                .iter()
                .map(|(what, count)| format!("{count} {what}"))
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
            "  sockets    closed {}; the longest was away {:.2} s",
            list(&closed),
            counts.longest_away.as_secs_f64()
        );
        println!("             {} messages heard", counts.messages);
        println!("  logins     {} new people", counts.logins);
        println!("  noticed    {}", counts.noticed.len());
        for what in counts.noticed.iter().take(SHOWN_MAX) {
            println!("             {what}");
        }
        counts.noticed.len()
    }
}
