//! The server through its sockets, each test with a store and an address of its own.

mod access;
mod bad_input;
mod device;
mod document;
mod events;
mod fleet;
mod limits;
mod pages;
mod world;
