//! The signals that two apps exchange while the platform's media connects them. Whatever could reveal the address of a
//! device is removed here, so that privacy does not depend on the app.

mod ice_candidate;
mod session_description;
mod signal_body;

pub use signal_body::{CandidateData, DescriptionData, InvalidSignal, SignalBody};
