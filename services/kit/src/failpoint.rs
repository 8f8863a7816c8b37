//! Named points at which a test can make a process die, as `kill -9` or a power cut would.
//!
//! Compiled only with the feature `failpoints`; without it a point is nothing at all. The point
//! that `TALKTIME_FAILPOINT` names aborts the process when it is reached.

/// Dies here when a test has asked for it.
#[cfg(feature = "failpoints")]
pub fn reach(name: &str) {
    if std::env::var("TALKTIME_FAILPOINT").is_ok_and(|wanted| wanted == name) {
        tracing::error!(failpoint = name, "dying here, as a test has asked");
        std::process::abort();
    }
}

/// Nothing outside tests.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_name: &str) {}
