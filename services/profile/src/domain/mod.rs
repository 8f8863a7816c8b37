//! What profile decides, without touching anything.

mod block;
mod error;
pub mod feed;
pub mod fields;
mod page;
mod registration;
mod user;

pub use block::{Action, normalize_reason};
pub use error::ProfileError;
pub use page::Page;
pub use registration::{Conflicts, Registration};
pub use user::{Role, Sex, User, UserUpdate};
