//! What a Gridpost sensor node does, independent of the board it does it on.
#![cfg_attr(not(test), no_std)]
