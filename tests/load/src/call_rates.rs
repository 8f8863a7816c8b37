//! The table of calls that start and end, at several numbers of clients and beside pgbench.

use std::fmt;

use crate::figures::{self, BenchFigure};

/// The figures at one number of clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallRate {
    pub(crate) clients: usize,
    /// Transactions of pgbench a second, each with the rows of one call.
    pub(crate) reference: f64,
    /// Calls started and ended a second.
    pub(crate) measured: f64,
    /// The median and the 99th percentile of a start at half of this rate, in milliseconds, from when it was sent. The wait
    /// of a pair for the end of its last call is not part of it.
    pub(crate) start_ms: (f64, f64),
}

/// The figures at all numbers of clients.
#[derive(Default)]
pub(crate) struct CallRateTable(Vec<CallRate>);

impl CallRateTable {
    pub(crate) fn add_rate(&mut self, rate: CallRate) {
        self.0.push(rate);
    }

    /// Returns the best rate of pgbench over all numbers of clients.
    fn best_reference(&self) -> f64 {
        self.0.iter().map(|rate| rate.reference).fold(0.0, f64::max)
    }

    /// Prints the table and adds its lines to the figures of the run.
    pub(crate) fn publish(&self) -> anyhow::Result<()> {
        println!("{self}");
        let best = self.best_reference();
        let figures = self.0.iter().flat_map(|rate| {
            let (p50, p99) = rate.start_ms;
            let figure = |reference: &str, per_second: f64| BenchFigure {
                reference: Some((reference.to_owned(), rate.measured / per_second)),
                ..BenchFigure::new(
                    "Calls: start, end",
                    &format!("{} clients, beside {reference}", rate.clients),
                    rate.measured,
                    "/s",
                )
            };
            [
                figure("pgbench with as many", rate.reference).with_latency(p50, p99),
                figure("pgbench at its best", best),
            ]
        });
        figures::append(&figures.collect::<Vec<_>>())
    }
}

impl fmt::Display for CallRateTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let best = self.best_reference();
        writeln!(
            f,
            "\nCalls: start, end (medians; a start at half of the rate)"
        )?;
        writeln!(
            f,
            "  {:>7} {:>11} {:>10} {:>7} {:>8} {:>10} {:>10}",
            "clients", "pgbench /s", "calls /s", "ratio", "of best", "start p50", "start p99"
        )?;
        for rate in &self.0 {
            let CallRate {
                clients,
                reference,
                measured,
                start_ms: (p50, p99),
            } = rate;
            writeln!(
                f,
                "  {clients:>7} {reference:>11.0} {measured:>10.0} {:>7.2} {:>8.2} {p50:>7.1} ms {p99:>7.1} ms",
                measured / reference,
                measured / best
            )?;
        }
        Ok(())
    }
}
