//! STAND-IN
use super::create::Request;
use super::start::Error;
use crate::engine::Engine;
use crate::spec::id::ContainerId;

#[derive(Debug, Clone, Copy)]
pub struct Mode {
    pub detach: bool,
    pub interactive: bool,
    pub tty: bool,
}

#[derive(Debug)]
pub enum Outcome {
    Detached(ContainerId),
    /// 0 to 255.
    Exited(i32),
}

pub fn create(_engine: &Engine, request: Request) -> Result<ContainerId, Error> {
    Err(Error::NoSuch(request.image))
}

pub fn run(_engine: &Engine, request: Request, _mode: Mode) -> Result<Outcome, Error> {
    Err(Error::NoSuch(request.image))
}
