//! Starts of calls, minutes and pages of histories, while the tables that grow for ever grow from one million minutes to
//! many. Each is measured at a rate that leaves the machine mostly idle, since their durations are to be compared.

use std::time::Instant;

use anyhow::ensure;
use clap::Args;

use crate::LoadSettings;
use crate::growth_data::GrowthData;
use crate::growth_load::{GrowthLoad, LABELS};
use crate::growth_report::GrowthReport;
use crate::stack::{self, BenchStack};

const MILLION: f64 = 1e6;
/// The fewest minutes of a month in which every listener has callers.
const MONTH_MIN: f64 = 20_000.0;

#[derive(Args)]
pub(crate) struct GrowthOptions {
    /// Sizes in millions of minutes; the first one is a month, and the others are rounded to months
    #[arg(long, default_value = "1,10,30", value_delimiter = ',')]
    minutes_millions: Vec<f64>,
    /// Gigabytes of the disk that stay free; sizes that do not fit are reduced
    #[arg(long, default_value_t = 14)]
    keep_free_gb: u64,
    /// Verify the books at each size as well, which takes about as long as it takes to fill them
    #[arg(long)]
    verify: bool,
}

impl GrowthOptions {
    /// Returns the numbers of months of all sizes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes ascend from a positive one, and casts of floats saturate"
    )]
    fn count_months(&self) -> anyhow::Result<Vec<u32>> {
        let month = self.minutes_millions[0];
        let months = self.minutes_millions.iter().map(|size| size / month);
        ensure!(
            self.minutes_millions.is_sorted() && month * MILLION >= MONTH_MIN,
            "sizes must ascend, and the first one must be at least {MONTH_MIN} minutes"
        );
        Ok(months.map(|months| months.round() as u32).collect())
    }
}

pub(crate) async fn run_bench(
    stack: &BenchStack,
    pace: LoadSettings,
    options: &GrowthOptions,
) -> anyhow::Result<()> {
    let sizes = options.count_months()?;
    let months_max = *sizes.last().unwrap_or(&1);
    let database = stack.connect_database().await?;
    let minutes = options.minutes_millions[0] * MILLION;
    let mut data = GrowthData::prepare(database, minutes, months_max).await?;
    let mut load = GrowthLoad::prepare(stack, pace, data.people()).await?;
    let mut report = GrowthReport::new(&LABELS);
    for months in sizes {
        let fitting = data.limit_months(months, options.keep_free_gb).await?;
        if fitting <= data.months() {
            println!("  {months} months do not fit on the disk");
            continue;
        }
        data.grow_to(fitting).await?;
        data.print_bytes().await?;
        report.add_size(data.minutes(), load.measure().await?);
        if options.verify {
            verify_books().await?;
        }
    }
    println!("{report}");
    Ok(())
}

async fn verify_books() -> anyhow::Result<()> {
    let started_at = Instant::now();
    stack::verify_books().await?;
    let took = started_at.elapsed();
    println!("  verification of the books: {:.0} s", took.as_secs_f64());
    Ok(())
}
