//! Subscribes to a broker.
