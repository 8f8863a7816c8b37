//! Time limits within which the steps of a call must happen.

use chrono::TimeDelta;

/// Time limits of the saga.
#[derive(Clone, Copy, Debug)]
pub struct SagaTimeLimits {
    /// Time for which a call goes on while its next minute cannot be charged.
    pub unpaid_grace: TimeDelta,
    /// Time after the start in which the caller may cancel free of charge; zero disables this.
    pub cancel_grace: TimeDelta,
    /// Time for which both parties may show no sign of life.
    pub silence_max: TimeDelta,
    /// Time within which a device of the listener must ring.
    pub reach: TimeDelta,
    /// Time within which the platform's media must connect both parties of an accepted call.
    pub connect: TimeDelta,
    /// Time for which the caller of a ring may show no sign of life when the listener accepts.
    pub caller_silence_max: TimeDelta,
}
