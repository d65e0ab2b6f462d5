//! Writing a batch into the server, in one transaction.
