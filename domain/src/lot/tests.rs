//! Given/when/then tests.
