//! Two machines wired together by hand: what the random scenarios reach only by luck.

mod backlog;
mod captured;
mod letters;
mod members;
mod parts;
mod peers;
mod retention;
mod standstill;
mod support;
mod versions;
mod witness;
