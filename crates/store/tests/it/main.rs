//! The store through its public interface, each test on a database of its own.
