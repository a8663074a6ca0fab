//! SALESmanago.
