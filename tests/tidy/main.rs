//! What neither compiler nor clippy can hold: rules over the whole tree of files.
//!
//! Each test collects every breach before it fails, so that one run shows all of them.

#[cfg(test)]
mod manifests;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod tree;
#[cfg(test)]
mod units;
