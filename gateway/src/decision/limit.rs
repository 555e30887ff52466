//! How much a session may have open at once.
