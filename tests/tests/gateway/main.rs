//! The gateway as those meet it who send to it, listen to it and look after it: the real agent, brokers and tools. One program,
//! because each that speaks MQTT takes long to build.

mod acl;
mod bad_frames;
mod bounds;
mod clock;
mod dispositions;
mod observability;
mod pack;
mod requests;
mod rules;
mod schema;
mod shares;
mod silence;
mod spool_damage;
mod summaries;
mod uplink;
