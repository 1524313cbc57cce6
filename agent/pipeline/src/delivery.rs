//! What a destination does next: a state machine.
