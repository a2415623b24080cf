//! Parts that stand in for hardware where none can be: for tests, and for the nodes of the agent's demo.

pub mod flash;
