//! The manifests as a cluster would run them: `k8s/run` runs a rendered overlay on this machine. Not a part of the
//! other tests, because for half a minute it takes the machine for itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

/// Held by the test that runs an overlay: two at once would take each other's time.
static MACHINE: Mutex<()> = Mutex::new(());

/// Runs the overlay `staging`, which has every store in several replicas and needs no provider outside.
fn run_staging(options: &[&str]) -> Output {
    let _machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let runner = std::env::var_os("TALKTIME_DEV").expect("TALKTIME_DEV: run `cargo dev test`");
    let runner = PathBuf::from(runner);
    let programs = runner.parent().expect("the runner lies in a folder");
    Command::new(repository.join("k8s/run"))
        .args(["staging", "--programs"])
        .arg(programs)
        .args(options)
        .output()
        .expect("python3 is installed")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_overlay_runs_with_two_replicas_of_each_process_and_a_call_is_paid() {
    let output = run_staging(&[]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("coins spent"), "no call was paid: {said}");
    assert!(
        said.contains("processes are confined"),
        "nobody looked at the processes: {said}"
    );
}

#[test]
fn a_process_that_lacks_a_setting_ends_the_run() {
    let output = run_staging(&["--without", "config-calls:PEERS__WALLET"]);
    let complaint = text(&output.stderr);
    assert!(!output.status.success(), "calls ran without its wallet");
    assert!(
        complaint.contains("talktime-calls-0: talktime has ended")
            || complaint.contains("talktime-calls-1: talktime has ended"),
        "{complaint}"
    );
    assert!(complaint.contains("PEERS__WALLET"), "{complaint}");
}
