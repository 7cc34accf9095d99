//! The verbs about volumes, one file each. There are no volumes yet: these answer as docker does where there
//! is none, so that scripts which look for some go on.

pub mod inspect;
pub mod ls;
