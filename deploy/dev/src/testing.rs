//! The command `test`: runs the tests of the workspace on a stack of their own.

use std::process::{Command, ExitCode, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::audit;
use crate::cargo::{self, BuildTargets, FAILPOINTS};
use crate::install;
use crate::job::RunnerJob;
use crate::progress::{self, ProgressStep};
use crate::session::{self, StackSession};
use crate::settings::{BuildProfile, StackSettings};
use crate::stack::{DevStack, StackName};
use crate::totals::TestTotals;
use crate::up;

/// Time to build and run all tests on a small machine.
const TESTS_DEADLINE: Duration = Duration::from_hours(2);
/// Length of a billed minute: tests wait for several of them, and must distinguish one from the next.
const MINUTE_SECS: u32 = 2;

#[derive(Args)]
pub(crate) struct TestOptions {
    /// Leave the stack up after the tests
    #[arg(long)]
    keep: bool,
    /// Arguments of `cargo test`: a name to filter by, or `-p talktime-wallet -- --nocapture`
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CARGO TEST ARGS"
    )]
    cargo_test: Vec<String>,
}

/// The command `test`. The totals are printed last, on a line of their own, even after an error.
pub(crate) fn run_tests(options: &TestOptions) -> ExitCode {
    let stack = DevStack::new(StackName::Test);
    let mut totals = TestTotals::default();
    let outcome = test_in_fresh_stack(&stack, options, &mut totals);
    let succeeded = match &outcome {
        Ok(status) => status.success() && totals.failed == 0 && totals.passed > 0,
        Err(error) => {
            progress::print_line(format_args!("error: {error:#}"));
            false
        }
    };
    if let Ok(status) = outcome
        && !status.success()
        && totals.failed == 0
    {
        progress::print_line(format_args!(
            "cargo test failed ({status}), although no test did"
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
    stack: &DevStack,
    options: &TestOptions,
    totals: &mut TestTotals,
) -> Result<ExitStatus> {
    progress::print_line(format_args!("Talktime, stack `{}`", stack.name()));
    let settings = StackSettings {
        minute_secs: MINUTE_SECS,
        build: BuildProfile::Failpoints,
        // Some tests need a second gateway, such as those of limits that all gateways share.
        gateways: 2,
        // Others kill a relay in the middle of a call.
        relays: 2,
        ..StackSettings::default()
    };
    let session = StackSession::begin_fresh(stack)?;
    let outcome = start_and_test(stack, &settings, options, totals);
    let released = if options.keep {
        progress::print_line(format_args!(
            "`{} down --wipe` stops the stack.",
            stack.command()
        ));
        session.detach(&settings)
    } else {
        // Each test has created a database, which together take too much space to be kept.
        session.end().and_then(|()| session::wipe_stack(stack))
    };
    let status = outcome?;
    released?;
    Ok(status)
}

fn start_and_test(
    stack: &DevStack,
    settings: &StackSettings,
    options: &TestOptions,
    totals: &mut TestTotals,
) -> Result<ExitStatus> {
    let packages = selected_packages(&options.cargo_test);
    // Tests of selected packages need not wait until the other tests are built.
    let targets = if packages.is_empty() {
        BuildTargets::Everything
    } else {
        // One of them makes a call from outside.
        BuildTargets::stack_and(&[up::DEMO])
    };
    install::ensure_test_programs(stack)?;
    up::start_stack(stack, settings, &targets)?;
    let mut command = cargo_test(&packages, &options.cargo_test)?;
    command
        .envs(up::client_variables(stack, settings)?)
        .env("TALKTIME_DEV", cargo::runner_path(stack));
    let step = ProgressStep::start("tests");
    let job = RunnerJob {
        stack,
        name: "tests",
        deadline: TESTS_DEADLINE,
    };
    let status = job.run_with_lines(&mut command, |line| {
        println!("{line}");
        totals.add_line(line);
    })?;
    step.finish("done");
    let audit = audit::audit_logs(stack)?;
    println!("{}", audit.report);
    totals.add_test(audit.has_passed);
    Ok(status)
}

/// `cargo test` for the whole workspace, unless the arguments select packages.
fn cargo_test(packages: &[String], arguments: &[String]) -> Result<Command> {
    let mut command = cargo::cargo_command();
    command.args(["test", "--no-fail-fast"]);
    if packages.is_empty() {
        command.arg("--workspace");
    }
    // Cargo refuses a feature that none of the selected packages knows.
    if packages.is_empty() || cargo::any_depends_on_kit(packages)? {
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
    fn packages_are_recognized_in_every_notation_of_cargo() {
        let packages = |text: &str| selected_packages(&words(text));
        assert_eq!(
            packages("-p a -pb --package c --package=d e"),
            ["a", "b", "c", "d"]
        );
        assert_eq!(packages("--release name -- -p x"), Vec::<String>::new());
    }

    #[test]
    fn the_whole_workspace_is_tested_with_fail_points_by_default() {
        let command = cargo_test(&[], &words("settles")).expect("needs no metadata");
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
