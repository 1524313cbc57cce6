//! What is spoken to each destination, and what its answers mean.
