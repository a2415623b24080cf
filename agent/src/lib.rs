//! The Gridpost gateway agent: links -> intake -> engine -> spool -> uplink.
