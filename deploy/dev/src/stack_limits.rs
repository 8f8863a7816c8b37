//! Limits that differ in stacks of tests, which wait for their ends, and of benches, whose clients act as fast as the
//! platform answers.

use crate::stack::DevStack;

/// How long a call rings in the test stack, where tests wait for the end of a ring that nobody answers.
const TEST_RING_SECS: u32 = 10;
/// How long a device may take there to confirm that it rings.
const TEST_REACH_SECS: u32 = 6;
/// How long the platform's media may take there to connect both parties.
const TEST_CONNECT_SECS: u32 = 12;
/// How often an app reports on its media there, and how long a call lasts there without sound: longer than a browser
/// needs to go on through another relay.
const TEST_REPORT_SECS: u32 = 2;
const TEST_LOST_SECS: u32 = 10;
/// Unanswered rings after which a caller has to wait in the stack of measurements, where a few pairs ring as often as
/// they can.
const BENCH_RINGS: u32 = 1_000_000;
/// Messages with one-time passwords, in the stack of measurements, after which nobody gets another: all clients have one
/// address there.
const BENCH_OTP_SENDS: u32 = 1_000_000_000;
/// Limits of the gateway that are off, because all clients of a stack have one address, and few users send what many
/// do elsewhere. The limit of the feed is part of the contract.
const UNLIMITED_IN_GATEWAY: [&str; 8] = [
    "LIMITS__AUTH",
    "LIMITS__MONEY",
    "LIMITS__UPLOAD",
    "LIMITS__READ",
    "LIMITS__WRITE",
    "HTTP__CONNECTIONS_PER_ADDRESS_MAX",
    "HTTP__RUNNING_PER_ADDRESS_MAX",
    "SOCKETS__PER_ADDRESS_MAX",
];

/// Returns the variables that switch off the limits of the gateway.
pub(crate) fn gateway_variables() -> [(&'static str, String); 8] {
    UNLIMITED_IN_GATEWAY.map(|key| (key, "0".to_owned()))
}

/// Returns the variables of rings and media in stacks of tests, which wait for their ends, and of benches, which
/// ring more often than a caller may.
pub(crate) fn ringing_variables(stack: &DevStack) -> Vec<(&'static str, String)> {
    if stack.is_throwaway() {
        return vec![
            ("RINGING__RING_SECS", TEST_RING_SECS.to_string()),
            ("RINGING__REACH_SECS", TEST_REACH_SECS.to_string()),
            ("RINGING__CONNECT_SECS", TEST_CONNECT_SECS.to_string()),
            ("MEDIA__REPORT_EVERY_SECS", TEST_REPORT_SECS.to_string()),
            ("MEDIA__LOST_SECS", TEST_LOST_SECS.to_string()),
        ];
    }
    if stack.is_measured() {
        return vec![
            ("RINGING__RINGS_PER_PAIR", BENCH_RINGS.to_string()),
            ("RINGING__RINGS_PER_CALLER", BENCH_RINGS.to_string()),
        ];
    }
    Vec::new()
}

/// Returns the variables of one-time passwords.
pub(crate) fn login_variables(stack: &DevStack) -> Vec<(&'static str, String)> {
    if !stack.is_measured() {
        return Vec::new();
    }
    let keys = [
        "OTP__ADDRESS_SENDS_MAX",
        "OTP__PREFIX_SENDS_MAX",
        "OTP__PLATFORM_SENDS_MAX",
    ];
    keys.map(|key| (key, BENCH_OTP_SENDS.to_string())).into()
}
