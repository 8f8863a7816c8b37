//! The figures of calls.

/// Figures of the calls of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallBooks {
    pub(crate) long_calls: usize,
    pub(crate) short_calls: u64,
    pub(crate) dropped: usize,
    pub(crate) minutes: i64,
    pub(crate) minutes_lost: i64,
}
