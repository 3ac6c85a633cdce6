//! The Windows half: waits of the system's thread pool.
