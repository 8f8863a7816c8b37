//! A call is a saga whose state is one row of `calls.user_calls`.
//!
//! | phase | next step | driven by |
//! | --- | --- | --- |
//! | `ringing` | accepted: `reserving`; declined, taken back or not answered in time: `unanswered` | the parties; the sweeper when its time is over |
//! | `reserving` | charge the first minute, then `active`, or `connecting` with the platform's media; refused or unknown: `undoing` | the request; after a crash the sweeper undoes it |
//! | `connecting` | both parties connected: `active`; not in time: `undoing` | the platform's media; the sweeper when its time is over |
//! | `undoing` | void the charge, delete the row, or `unanswered` if it was a ring | the request, then the sweeper |
//! | `active` | charge each minute when it begins; out of coins: `settling` | the sweeper, or a billing request of a client |
//! | `settling` | charge begun minutes, pay the listener, then `settled` | the request, then the sweeper |
//!
//! The steps and their undo:
//!
//! | step | effect | undo |
//! | --- | --- | --- |
//! | `steps::check` | none: profile and presence permit the call | none needed |
//! | `steps::reserve` | a row in `reserving`, both parties busy, the idempotency key taken | free the parties and the key, delete the row |
//! | `steps::charge` | the first minute is paid | void the charge by the id of the call, even if its outcome is unknown |
//! | `steps::go_live` | `active`; the start is published | none: from here on the call ends instead |
//! | `steps::end` | `settling`, both parties free | none: the call has ended |
//! | `steps::settle` | the listener is paid, `settled` | none: repeated until it succeeds |
//!
//! A ring is the first two steps of a start, with the row in `ringing`; the listener who accepts it takes the
//! others, after `steps::check_caller` and `steps::reserve_ring` for the two that were taken before.
//!
//! The end of a call is published once its figures are certain: when it ends, or with its settlement if
//! a minute that had begun was still to be charged.
//!
//! Every step may run twice or concurrently. The wallet knows each movement by its id, and the row changes
//! only from the phase that the step expects.

mod accept_batch;
mod accept_call;
pub(crate) mod backlog;
mod batching;
mod bill_minutes;
mod bounds;
mod end_call;
mod end_ring;
mod forbid_calls;
pub(crate) mod presence_updates;
mod requests;
mod settle_call;
mod silence;
mod start_batch;
mod start_call;
pub(crate) mod step_batchers;
pub(crate) mod steps;
mod sweep;
pub(crate) mod sweep_pace;
mod undo_call;

pub use requests::{
    AcceptRingRequest, AcceptedCall, BILL_ROUTE, CallStartRequest, DeclineRingRequest,
    EMERGENCY_END_ROUTE, END_ROUTE, EndedCall, HangUpRequest, MinuteBillingOutcome,
    MinuteBillingRequest, START_ROUTE, StartedCall,
};
pub use sweep::SagaSweepOutcome;
