//! Takes what devices publish.
