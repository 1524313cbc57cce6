//! What is done to records between a source and a destination.
