//! Two machines wired together by hand: what the random scenarios reach only by luck.

mod backlog;
mod members;
mod peers;
mod support;
mod versions;
