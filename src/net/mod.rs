//! Sockets in, bytes out; knows nothing of HTTP and nothing of plans.
//!
//! One rule above all, learnt from the kernel: an operation that may already have taken bytes out of a socket is
//! never dropped if another on the same socket will follow. Reads live in a [`reader::Reader`], which can be left
//! and polled again later; they end only with their connection.

pub mod connect;
pub mod doorbell;
pub mod driver;
mod fd;
pub mod handed;
pub mod hangup;
pub mod listen;
pub mod reader;
pub mod stream;
mod tls;
pub mod writer;

#[cfg(test)]
pub(crate) mod tests;
