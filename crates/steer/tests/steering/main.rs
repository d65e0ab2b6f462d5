//! Routes, pictures and clients → answers: what always holds, what each policy does, and how desired
//! state is changed.

mod always;
mod any;
mod chance;
mod desired;
mod explained;
mod ledger;
mod policies;
mod support;
