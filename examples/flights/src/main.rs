//! The main job on real data.
fn main() {}
