//! Pure rules of profile, without any I/O.

mod block;
mod call_check;
mod contact_details;
mod error;
mod favorite;
pub mod feed;
pub mod feed_index;
pub mod feed_row;
pub mod fields;
mod preferences;
mod public_profile;
mod registration;
mod reserved_names;
mod terms;
mod text_policy;
mod user;
mod username;

pub use block::{BlockAction, BlockedUser, UserBlock, normalize_reason};
pub use call_check::{CallPermissionFacts, PlannedParties};
pub use error::ProfileError;
pub use favorite::{FavoriteListener, FavoriteListenerFilter};
pub use preferences::{CallType, ListenerPreferences, ListenerPreferencesUpdate};
pub use public_profile::{PublicProfile, UserVisibility};
pub use registration::{RegistrationConflicts, RegistrationRequest};
pub use reserved_names::ReservedNames;
pub use terms::{RequiredTermsVersion, check_terms_version};
pub use text_policy::PublicTextPolicy;
pub use user::{Sex, User, UserProfileUpdate, UserRole};
pub use username::{UsernameAvailability, username_candidates};
