//! What profile decides, without touching anything.

mod error;
pub mod feed;
pub mod fields;
mod registration;
mod user;

pub use error::ProfileError;
pub use registration::{Conflicts, Registration};
pub use user::{Role, Sex, User, UserUpdate};
