//! STAND-IN
use super::start::Error;
use crate::engine::Engine;

#[derive(Debug)]
pub struct Request {
    pub container: String,
    pub argv: Vec<String>,
    pub env: Vec<crate::spec::env::EnvChange>,
    pub user: Option<String>,
    pub workdir: Option<String>,
    pub tty: bool,
    pub interactive: bool,
    pub detach: bool,
    pub privileged: bool,
}

pub fn exec(_engine: &Engine, request: Request) -> Result<i32, Error> {
    Err(Error::NoSuch(request.container))
}
