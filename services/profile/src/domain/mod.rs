//! Pure rules of profile, without any I/O.

mod block;
mod call_check;
mod error;
mod favorite;
pub mod feed;
pub mod feed_row;
pub mod fields;
mod preferences;
mod public_profile;
mod registration;
mod terms;
mod user;
mod username;

pub use block::{BlockAction, BlockedUser, UserBlock, normalize_reason};
pub use call_check::CallCheck;
pub use error::ProfileError;
pub use favorite::{FavoriteListener, FavoritesFilter};
pub use preferences::{CallType, ListenerPreferences, PreferencesUpdate};
pub use public_profile::PublicProfile;
pub use registration::{RegistrationConflicts, RegistrationRequest};
pub use terms::{RequiredTerms, check_terms_version};
pub use user::{Role, Sex, User, UserUpdate};
pub use username::{UsernameAvailability, username_candidates};
