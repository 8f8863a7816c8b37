//! Judges uploads in separate processes.
//!
//! A hostile file may request more memory than there is, or an endless loop. A file is therefore read by a
//! separate process with little memory, little time and an empty environment, which can neither open a file nor a socket
//! nor start another process. If this process dies, the file counts as damaged.

pub mod audio;
mod confinement;
pub mod photo;
mod sandbox;

pub use audio::AudioProbe;
pub use photo::PhotoRenderer;
