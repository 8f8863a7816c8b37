//! A client of the public API, as the mobile app would be: it knows the gateway's address and what
//! the contract says, and nothing of the services behind.
//!
//! [`App`] asks, [`Answer`] is what came back, a [`Person`] is someone who signed up, a [`Socket`]
//! hears what happens. Only the [`OtpInbox`] looks behind the scenes: it stands for the phone that
//! receives the text message.

mod answer;
mod app;
mod inbox;
mod people;
mod socket;
mod wait;

pub use answer::Answer;
pub use app::{App, Ask};
pub use inbox::OtpInbox;
pub use people::{NewPerson, Person, Role, random_phone, random_username};
pub use socket::{Closed, Socket};
pub use wait::until;
