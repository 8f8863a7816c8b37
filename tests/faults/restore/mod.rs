//! Postgres is restored to a moment of the past while tokens, sessions and events live on, as
//! `docs/runbooks/restore.md` describes.

mod cluster;

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use futures::future::join_all;
use serde_json::json;
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::{ExpectAnswer, TestApp, connect_app, run_dev, run_dev_output};

use crate::{lock_stack, republish_events};
use cluster::{BackupBucket, DrillCluster};

/// Processes that run on the test stack.
const PROCESSES: [&str; 8] = [
    "auth",
    "profile",
    "presence",
    "wallet",
    "calls",
    "verification",
    "gateway",
    "gateway-2",
];

async fn run_side_by_side(commands: Vec<Vec<&str>>) {
    let running = commands.iter().map(|command| run_dev(command));
    join_all(running).await;
}

async fn stop_processes() {
    run_side_by_side(PROCESSES.map(|process| vec!["stop", process]).to_vec()).await;
}

async fn start_processes(variables: &[String]) {
    let restart = PROCESSES.map(|process| {
        let mut command = vec!["restart", process, "--no-build"];
        for variable in variables {
            command.extend(["--env", variable]);
        }
        command
    });
    run_side_by_side(restart.to_vec()).await;
}

/// Empties Redis and NATS, since ids of one database mean others in another.
async fn wipe_stores() {
    let stores = ["redis", "nats"];
    // Redis would log its stop with a number that looks like that of a phone.
    run_dev(&["kill", "redis"]).await;
    run_side_by_side(stores.map(|store| vec!["stop", store, "--wipe"]).to_vec()).await;
    run_side_by_side(stores.map(|store| vec!["start", store]).to_vec()).await;
}

/// Returns the stack to its own database, whatever the test has left.
async fn return_to_own_database() {
    stop_processes().await;
    wipe_stores().await;
    start_processes(&[]).await;
    republish_events().await;
}

/// The end of a command and its output.
struct CommandOutcome {
    has_succeeded: bool,
    printed: String,
}

/// Runs a command of a service or of the runner on the restored database. It dies at `failpoint` unless that is empty.
async fn run_on(cluster: &DrillCluster, command: &[&str], failpoint: &str) -> CommandOutcome {
    let mut variables = cluster.variables();
    variables.push(format!("TALKTIME_FAILPOINT={failpoint}"));
    let (first, rest) = command.split_first().expect("a command");
    let mut arguments = vec![*first];
    for variable in &variables {
        arguments.extend(["--env", variable]);
    }
    arguments.extend(rest);
    let output = run_dev_output(&arguments).await;
    CommandOutcome {
        has_succeeded: output.status.success(),
        printed: String::from_utf8_lossy(&output.stdout).into_owned(),
    }
}

/// Runs a command that must succeed, and returns its output.
async fn run_to_success(cluster: &DrillCluster, command: &[&str]) -> String {
    let outcome = run_on(cluster, command, "").await;
    assert!(outcome.has_succeeded, "{command:?}: {}", outcome.printed);
    outcome.printed
}

async fn recharge(app: &TestApp, user: &AppUser) {
    let body = json!({"amount_rupees": 150, "payment_method": "upi"});
    let recharged = app.post("/calls/recharge").as_user(user).json(&body);
    let recharged = recharged.answer().await;
    assert_eq!(recharged.status, 200, "{recharged:?}");
}

async fn load_balance(app: &TestApp, user: &AppUser) -> ApiAnswer {
    app.get("/wallet/balance").as_user(user).answer().await
}

/// Asserts that neither token of a user opens anything.
async fn assert_logged_out(app: &TestApp, user: &AppUser) {
    for path in ["/users/me", "/wallet/balance"] {
        let refused = app.get(path).as_user(user).answer().await;
        assert_eq!(refused.status, 401, "{path}: {refused:?}");
    }
    let body = json!({"refresh_token": user.refresh_token});
    let refused = app.post("/auth/refresh").json(&body).answer().await;
    assert_eq!(refused.status, 401, "{refused:?}");
}

/// People on both sides of the restored moment.
struct DrillUsers {
    /// Signed up before it, and bought coins before and after it.
    early: AppUser,
    /// Signed up after it.
    late: AppUser,
}

/// Lets people use the platform; returns them with a moment between two purchases of the first.
async fn use_platform(cluster: &DrillCluster) -> (DrillUsers, String) {
    let app = connect_app().await;
    let early = app.sign_up(UserRole::User).await;
    recharge(&app, &early).await;
    let moment = cluster.read_clock().await;
    recharge(&app, &early).await;
    let late = app.sign_up(UserRole::User).await;
    recharge(&app, &late).await;
    cluster.wait_until_archived().await;
    (DrillUsers { early, late }, moment)
}

/// Makes the restored database safe, with deaths on the way, and asserts what the command prints.
async fn make_safe(cluster: &DrillCluster, users: &DrillUsers) {
    let (early_id, late_id) = (users.early.user_id, users.late.user_id);
    let registered = format!("events.profile.user_registered of {late_id} ");
    let logged_in = format!("login of user {late_id} ");
    let bought = format!("events.wallet.coins_added of {early_id} ");
    for (service, failpoint, lost) in [
        ("profile", "kit.restored.listed", &registered),
        ("profile", "kit.restored.advanced", &registered),
        ("wallet", "wallet.restored.recovered", &bought),
        ("auth", "auth.restored.listed", &logged_in),
        ("auth", "auth.restored.sessions_ended", &logged_in),
    ] {
        let command = ["run", service, "restored"];
        let outcome = run_on(cluster, &command, failpoint).await;
        let printed = &outcome.printed;
        assert!(!outcome.has_succeeded, "{failpoint}: {printed}");
        assert!(printed.contains(lost), "{failpoint}: {printed}");
    }
    let command = ["run", "auth", "restored"];
    let outcome = run_on(cluster, &command, "auth.restored.keys_replaced").await;
    let printed = &outcome.printed;
    assert!(
        !outcome.has_succeeded && !printed.contains(&logged_in),
        "{printed}"
    );
    let printed = run_to_success(cluster, &["restored"]).await;
    assert!(printed.contains(&bought), "{printed}");
    assert!(printed.contains("every chain is whole"), "{printed}");
    let printed = run_to_success(cluster, &["restored"]).await;
    assert!(!printed.contains("lost: "), "the second run: {printed}");
}

/// Asserts that the restored database has the purchase before the moment and not those after it.
async fn assert_restored(cluster: &DrillCluster, users: &DrillUsers) {
    let owner = |user: &AppUser| format!("owner_id = {}", user.user_id);
    let transfers = "wallet.transfers";
    assert_eq!(cluster.count(transfers, &owner(&users.early)).await, 1);
    assert_eq!(cluster.count(transfers, &owner(&users.late)).await, 0);
    let late = format!("user_id = {}", users.late.user_id);
    assert_eq!(cluster.count("profile.users", &late).await, 0);
}

async fn restore_and_check() {
    let bucket = BackupBucket::create().await;
    let before = DrillCluster::create(&bucket).await;
    stop_processes().await;
    wipe_stores().await;
    start_processes(&before.variables()).await;
    let (users, moment) = use_platform(&before).await;
    let outcome = run_on(&before, &["restored"], "").await;
    assert!(!outcome.has_succeeded, "services run: {}", outcome.printed);
    stop_processes().await;
    drop(before);

    let restored = DrillCluster::restore(&bucket, &moment).await;
    assert_restored(&restored, &users).await;
    make_safe(&restored, &users).await;

    start_processes(&restored.variables()).await;
    let app = connect_app().await;
    assert_logged_out(&app, &users.late).await;
    let newcomer = app.sign_up(UserRole::User).await;
    assert!(newcomer.user_id > users.late.user_id, "{newcomer:?}");
    assert_logged_out(&app, &users.late).await;
    assert_logged_out(&app, &users.early).await;
    let early = app.log_in_again(&users.early).await;
    let balance = load_balance(&app, &early).await;
    assert_eq!(balance.body["balance_coins"], 300, "{balance:?}");
    recharge(&app, &newcomer).await;
    run_to_success(&restored, &["run", "wallet", "verify"]).await;
}

#[tokio::test]
async fn nobody_gets_the_account_of_somebody_whom_a_restore_has_forgotten() {
    let _stack = lock_stack().await;
    let outcome = AssertUnwindSafe(restore_and_check()).catch_unwind().await;
    return_to_own_database().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
