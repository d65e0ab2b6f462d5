//! The house rules that a compiler doesn't hold: which room may depend on which, and that the pages
//! name only what is there. `tests/structure.rs` holds the workspace to them.

mod pages;
mod rooms;

pub use pages::{code_paths, links};
pub use rooms::{PURE, ROOMS, Room, allowed, room, undeclared};
