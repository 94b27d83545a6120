//! This node's packets.
