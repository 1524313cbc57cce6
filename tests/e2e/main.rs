//! The binary against real programs.
