//! What can be done to a container: one file per verb. Nothing here prints.

pub mod attach;
pub mod control;
pub mod cp;
pub mod create;
pub mod diff;
pub mod exec;
pub mod files;
pub mod filter;
pub mod inspect;
pub mod kill;
pub mod list;
pub mod logs;
pub mod pause;
pub mod port;
pub mod prune;
pub mod remove;
pub mod rename;
pub mod restart;
pub mod run;
pub mod start;
pub mod stats;
pub mod stop;
pub mod top;
pub mod unpause;
pub mod update;
pub mod wait;

#[cfg(test)]
pub mod sample;
