//! What the runtime promises, tried through its public face by ranks that are threads of one process.
//!
//! No test asserts a time. What may not hang runs under a watchdog that ends the process and says which test it was.

mod crowds;
mod departures;
mod errors;
mod forgotten;
mod harness;
mod probes;
mod programs;
mod requests;
mod scopes;
mod streams;
mod threads;
mod timeouts;
