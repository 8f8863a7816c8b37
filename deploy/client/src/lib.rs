//! A client of the public API, as the mobile app would be: it knows the address of the gateway and the
//! contract, and nothing about the services.
//!
//! [`ApiClient`] sends requests, [`ApiAnswer`] is an answer, [`AppUser`] is a user who has signed up, and
//! [`AppSocket`] receives events. Only [`OtpInbox`] reads from behind the API: it replaces the phone that
//! receives the text message.

mod answer;
mod app;
mod inbox;
mod sign_up;
mod socket;
mod store_address;
mod users;
mod wait;

pub use answer::ApiAnswer;
pub use app::{ApiClient, ApiRequest};
pub use inbox::OtpInbox;
pub use socket::{AppSocket, SocketClose};
pub use store_address::StoreAddress;
pub use users::{AppUser, NewAppUser, UserRole, random_phone, random_username};
pub use wait::poll_until;
