//! A call as a saga in one row.
//!
//! | phase | next step | by whom |
//! | --- | --- | --- |
//! | reserving | charge the first minute, then `active`; refused or unknown: `undoing` | the request; the sweeper undoes what a dead request left |
//! | undoing | void the charge, drop the row | the request, then the sweeper |
//! | active | charge each minute when it begins; out of coins: `settling` | the sweeper, nudged by clients |
//! | settling | charge begun minutes, pay the listener, then `settled` | the request, then the sweeper |
//!
//! The end of a call is published with its figures once these are certain: where it ends, or with its
//! settlement where a begun minute had yet to be charged.
//!
//! Every step may run twice or at once: the wallet knows each movement by its id, and the row moves
//! on only from the phase that the step expects.

pub(crate) mod backlog;
mod batching;
mod bill_minutes;
mod bounds;
mod call_events;
mod end_call;
mod forbid_calls;
pub(crate) mod presence_updates;
mod requests;
mod settle_call;
mod silence_watch;
mod start_batch;
mod start_call;
pub(crate) mod step_batchers;
mod steps;
mod sweeper;
mod undo_call;

pub use requests::{
    BILL_ROUTE, BillingOutcome, BillingRequest, EMERGENCY_END_ROUTE, END_ROUTE, EndedCall,
    HangUpRequest, START_ROUTE, StartRequest, StartedCall,
};
pub use silence_watch::run_silence_watch;
pub use sweeper::{SweepOutcome, run_sweeper};
