//! From a batch of records to bytes.
