//! Named points at which a test can end a process, as `kill -9` or a power cut would.
//!
//! They are compiled only with the feature `failpoints` and cost nothing without it. The point that the
//! variable `TALKTIME_FAILPOINT` names aborts the process when it is reached.

/// Aborts the process if a test has named this point.
#[cfg(feature = "failpoints")]
pub fn reach(name: &str) {
    if std::env::var("TALKTIME_FAILPOINT").is_ok_and(|wanted| wanted == name) {
        tracing::error!(
            failpoint = name,
            "aborting at the failpoint that a test has named"
        );
        std::process::abort();
    }
}

/// Does nothing without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_name: &str) {}
