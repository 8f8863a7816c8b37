//! Operations that change samples: submissions by listeners and reviews by admins.

pub mod review;
pub mod submit;
