//! The command line: one file for each command, and the exit code of each.
//!
//! Invariants
//! - Results go to stdout, everything else to stderr; a refusal is one line.
//! - A flag does something or does not exist.
//! - Nothing here panics when stdout is closed early.
//!
//! | file | job |
//! |---|---|
//! | here | which command it is |
//! | `serve` `demo` | `boveda serve`; `boveda demo` |
//! | `status` `status_text` | `boveda status`, and its page for people |
//! | `members` `scrub` `access` `bucket` `audit` | `boveda members`, `scrub`, `access`, `bucket` and `audit`: what a running node is asked |
//! | `link` | `boveda link`: made without asking anybody |
//! | `key` `verify` `leave` | what works on directories that no node uses, or on keys |
//! | `key_rotate` `keys_text` | another key generation seals; what people read of generations |
//! | `plain` | what others wrote, as a terminal may have it |
//! | `settings` `config_check` | flags, file and environment; `boveda config check` |
//! | `whom` `url` `client` | which node is asked, by whose word it is known, and who asks; where it is; asking it |

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

mod access;
mod audit;
mod bucket;
mod client;
mod config_check;
mod demo;
mod key;
mod key_rotate;
mod keys_text;
mod leave;
mod link;
mod members;
mod plain;
mod scrub;
mod serve;
mod settings;
mod status;
mod status_text;
mod url;
mod verify;
mod whom;

pub use crate::base::Exit;

/// Self-hosted object store: every byte sealed at rest, every object on several nodes.
#[derive(Debug, Parser)]
#[command(name = "boveda", version, arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = "\
Settings come from --config FILE, then from the environment (BOVEDA_SECTION_KEY), then from flags; the last one wins.
config/boveda.toml explains every setting; `boveda config check` shows what is in force.

Clients of a node (bucket, access, audit, status, members, scrub, key rotate) say who they are by --profile FILE, or by BOVEDA_ACCESS_KEY and
BOVEDA_SECRET_KEY, and whose word they take for its certificate by --cacert FILE, or BOVEDA_CACERT.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 partly done or something is wrong, 10 not found, 11 busy, 12 wrong key, 130 interrupted.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    /// Make, list and rotate encryption keys
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    Bucket(bucket::Bucket),
    #[command(subcommand)]
    Access(access::Access),
    Link(link::Link),
    #[command(subcommand)]
    Audit(audit::Audit),
    Status(status::Status),
    #[command(subcommand)]
    Members(members::Members),
    #[command(subcommand)]
    Scrub(scrub::Scrub),
    Verify(verify::Verify),
    Leave(leave::Leave),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    Check(config_check::Check),
}

/// Parses the arguments (the program's name first), runs the command and says how it went.
pub fn run(args: impl IntoIterator<Item = OsString>, env: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    // Most commands have keys in memory.
    crate::disk::cores::keep_none();
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are not errors, and nobody is left to tell when printing fails.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let env = match settings::environment(env) {
        Ok(env) => env,
        Err(error) => return refuse(&error, Exit::Usage),
    };
    match cli.command {
        Command::Serve(serve) => serve.run(&env),
        Command::Demo(demo) => demo.run(&env),
        Command::Key(key) => key.run(&env),
        Command::Bucket(bucket) => bucket.run(&env),
        Command::Access(access) => access.run(&env),
        Command::Link(link) => link.run(&env),
        Command::Audit(audit) => audit.run(&env),
        Command::Status(status) => status.run(&env),
        Command::Members(members) => members.run(&env),
        Command::Scrub(scrub) => scrub.run(&env),
        Command::Verify(verify) => verify.run(&env),
        Command::Leave(leave) => leave.run(&env),
        Command::Config(ConfigCommand::Check(check)) => check.run(&env),
    }
}

/// Says in one line why a command did not do its work.
fn refuse(why: &dyn std::fmt::Display, exit: Exit) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "boveda: {why}");
    exit.into()
}

/// Prints a result. A reader that went away is no success, but no reason to panic either.
fn print(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Exit::Done.into(),
        Err(_) => Exit::Failed.into(),
    }
}
