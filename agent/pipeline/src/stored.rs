//! A record as bytes in the ring.
