//! The command line: one file a subcommand.

pub mod acl;
pub mod catalogue;
pub mod check;
pub mod demo;
pub mod exit;
pub mod explain;
pub mod logging;
pub mod matter;
pub mod pack;
pub mod print;
pub mod provision;
pub mod request;
pub mod rules;
pub mod run;
mod save;
pub mod schema;
pub mod spool;
pub mod watch;

use clap::{Parser, Subcommand};

use exit::Failure;

/// Gridpost: the edge agent whose events know who must handle them.
///
/// It takes what field sensors measure, decides by the district's rules, and publishes events that carry the matter's
/// code, the competent department and the level of implementation.
#[derive(Debug, Parser)]
#[command(
    name = "gridpost",
    version,
    after_help = "First steps: `gridpost demo` shows it all on this machine, without any configuration.\n\
                  Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 configuration or pack not usable, 4 spool in use.\n\
                  Log detail: GRIDPOST_LOG=debug (or info, warn, error)."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it all on this machine: a broker, sensors on a street, the agent, and the events as the platform gets them
    Demo(demo::DemoArgs),
    /// Run the gateway
    Run(run::RunArgs),
    /// Check configuration, keys and pack; changes nothing. Exit code 3: something is not usable, or the gateway would refuse
    /// the configured pack and go on with the one that ran last
    Check(check::CheckArgs),
    /// The responsibility list: take over what a district has
    Catalogue(catalogue::CatalogueArgs),
    /// The broker's access rules, from the pack: a department reads its own matters, a gateway writes its own topics
    Acl(acl::AclArgs),
    /// Ask a gateway something over its broker, as the platform does
    Request(request::RequestArgs),
    /// JSON Schema of every message, and an AsyncAPI document of every topic
    Schema(schema::SchemaArgs),
    /// Whose is it? Find a matter by any of its codes, or by a word
    Matter(matter::MatterArgs),
    /// A district's pack: one file of a folder, and what is in it
    Pack(pack::PackArgs),
    /// For rule authors: run cases of readings and expected events; what became of each rule's cases
    Rules(rules::RulesArgs),
    /// Why rules said, or did not say, something at a reading
    Explain(explain::ExplainArgs),
    /// Show what the platform receives
    Watch(watch::WatchArgs),
    /// Give a device its identity: a key, and the start of its flash image
    Provision(provision::ProvisionArgs),
    /// What a gateway's spool holds: state, check, export; beside the running gateway
    Spool(spool::SpoolArgs),
}

impl Cli {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// What went wrong, with its exit code.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Demo(args) => demo::demo(args),
            Command::Run(args) => run::run(&args),
            Command::Check(args) => check::check(&args),
            Command::Catalogue(args) => catalogue::catalogue(args),
            Command::Acl(args) => acl::acl(args),
            Command::Request(args) => request::request(&args),
            Command::Schema(args) => schema::schema(&args),
            Command::Matter(args) => matter::matter(args),
            Command::Pack(args) => pack::pack(args),
            Command::Rules(args) => rules::rules(&args),
            Command::Explain(args) => explain::explain(&args),
            Command::Watch(args) => watch::watch(&args),
            Command::Provision(args) => provision::provision(&args),
            Command::Spool(args) => spool::spool(&args),
        }
    }
}
