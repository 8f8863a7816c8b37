//! `test`: all tests of the workspace against a stack of their own.

use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::audit;
use crate::cargo::{self, FAILPOINTS, Targets};
use crate::install;
use crate::job::Job;
use crate::progress::{self, Step};
use crate::session::{self, Session};
use crate::settings::{Build, Settings};
use crate::stack::{Stack, StackName};
use crate::totals::Totals;
use crate::up;

/// Building and running all of them, on a small machine.
const TESTS_DEADLINE: Duration = Duration::from_hours(2);
/// Short enough to wait for several, long enough to tell one minute from the next.
const MINUTE_SECS: u32 = 2;

#[derive(Args)]
pub(crate) struct TestOptions {
    /// Leave the stack up afterwards, for inspection
    #[arg(long)]
    keep: bool,
    /// For `cargo test`: a name to filter by, or `-p talktime-wallet -- --nocapture`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CARGO TEST ARGS"
    )]
    cargo_test: Vec<String>,
}

/// The command `test`. The totals come last, alone on their line, whatever happened before.
pub(crate) fn test(options: &TestOptions) -> ExitCode {
    let stack = Stack::new(StackName::Test);
    let mut totals = Totals::default();
    let outcome = test_in_fresh_stack(&stack, options, &mut totals);
    let succeeded = match &outcome {
        Ok(status) => status.success() && totals.failed == 0 && totals.passed > 0,
        Err(error) => {
            progress::say(format_args!("error: {error:#}"));
            false
        }
    };
    if let Ok(status) = outcome
        && !status.success()
        && totals.failed == 0
    {
        progress::say(format_args!(
            "cargo test failed ({status}), though no test did"
        ));
    }
    println!("{totals}");
    if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn test_in_fresh_stack(
    stack: &Stack,
    options: &TestOptions,
    totals: &mut Totals,
) -> Result<ExitStatus> {
    progress::say(format_args!("Talktime, stack `{}`", stack.name()));
    let settings = Settings {
        minute_secs: MINUTE_SECS,
        build: Build::Failpoints,
        // What counts over all gateways needs two to be tested.
        gateways: 2,
        ..Settings::default()
    };
    let session = Session::begin_anew(stack)?;
    let outcome = raise_and_test(stack, &settings, options, totals);
    let given_up = if options.keep {
        progress::say(format_args!(
            "`{} down --wipe` stops the stack.",
            stack.command()
        ));
        session.leave(&settings)
    } else {
        // Each test made a database of its own: too much to keep until the next time.
        session.end().and_then(|()| session::wipe(stack))
    };
    let status = outcome?;
    given_up?;
    Ok(status)
}

fn raise_and_test(
    stack: &Stack,
    settings: &Settings,
    options: &TestOptions,
    totals: &mut Totals,
) -> Result<ExitStatus> {
    let packages = selected_packages(&options.cargo_test);
    // Who tests one package need not wait for the tests of the others to build.
    let targets = if packages.is_empty() {
        Targets::Everything
    } else {
        Targets::Programs
    };
    install::ensure_for_tests(stack)?;
    up::raise(stack, settings, &targets)?;
    let mut command = cargo_test(&packages, &options.cargo_test)?;
    command
        .envs(up::client_variables(stack, settings))
        .env("TALKTIME_DEV", cargo::runner(stack));
    let step = Step::start("tests");
    let job = Job {
        stack,
        name: "tests",
        deadline: TESTS_DEADLINE,
    };
    let status = job.run_reading(&mut command, |line| {
        println!("{line}");
        totals.add(line);
    })?;
    step.done("done");
    let (report, passed) = audit::report(stack)?;
    println!("{report}");
    totals.add_one(passed);
    Ok(status)
}

/// `cargo test` for the whole workspace, unless the arguments select packages.
fn cargo_test(packages: &[String], arguments: &[String]) -> Result<Command> {
    let mut command = cargo::cargo();
    command.args(["test", "--no-fail-fast"]);
    if packages.is_empty() {
        command.arg("--workspace");
    }
    // Cargo refuses a feature that none of the selected packages knows.
    if packages.is_empty() || cargo::any_knows_failpoints(packages)? {
        command.args(["--features", FAILPOINTS]);
    }
    command.args(arguments);
    Ok(command)
}

/// The packages that arguments of cargo name: `-p a`, `-pa`, `--package a`, `--package=a`.
fn selected_packages(arguments: &[String]) -> Vec<String> {
    let mut packages = Vec::new();
    let mut rest = arguments.iter().take_while(|argument| *argument != "--");
    while let Some(argument) = rest.next() {
        if argument == "-p" || argument == "--package" {
            packages.extend(rest.next().cloned());
        } else if let Some(name) = argument.strip_prefix("--package=") {
            packages.push(name.to_owned());
        } else if let Some(name) = argument.strip_prefix("-p") {
            packages.push(name.trim_start_matches('=').to_owned());
        }
    }
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn packages_are_recognized_in_every_way_cargo_lets_one_write_them() {
        let packages = |text: &str| selected_packages(&words(text));
        assert_eq!(
            packages("-p a -pb --package c --package=d e"),
            ["a", "b", "c", "d"]
        );
        assert_eq!(packages("--release name -- -p x"), Vec::<String>::new());
    }

    #[test]
    fn without_packages_the_whole_workspace_is_tested_with_fail_points() {
        let command = cargo_test(&[], &words("settles")).expect("nothing is run");
        let arguments: Vec<_> = command.get_args().collect();
        let expected = [
            "test",
            "--no-fail-fast",
            "--workspace",
            "--features",
            FAILPOINTS,
            "settles",
        ];
        assert_eq!(arguments, expected);
    }
}
