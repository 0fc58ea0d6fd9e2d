//! The server through its sockets, each test with a store and an address of its own.
