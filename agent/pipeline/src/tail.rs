//! How files are followed.
