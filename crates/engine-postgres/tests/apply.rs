//! Batches against a real PostgreSQL: what is written over what, and what constraints keep out.

mod applying;
