//! Observers of several regions in a world whose links and regions fail: who is said to be down.

mod mutations;
mod named;
mod patterns;
mod truth;
mod world;
