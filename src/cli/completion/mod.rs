//! What a shell completes: the scripts that users install, and the hidden command that answers them.
//! Runs in the client.
//!
//! The scripts are small and know no command: they hand the words up to the cursor to `coracle __complete`
//! and show what it answers, a candidate a line. So they never need to be installed anew.

pub mod answer;
pub mod bash;
mod candidates;
pub mod fish;
mod line;
mod values;
mod world;
pub mod zsh;

/// The hidden command that answers with explanations.
pub const EXPLAINED: &str = "__complete";
/// The one that answers without.
pub const PLAIN: &str = "__completeNoDesc";

/// A script that asks for explanations, or one that does not.
fn script(text: &str, no_descriptions: bool) -> String {
    let command = if no_descriptions { PLAIN } else { EXPLAINED };
    text.replace("__complete \"", &format!("{command} \""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_asks_as_it_is_told() {
        for text in [bash::SCRIPT, fish::SCRIPT, zsh::SCRIPT] {
            let asks = |script: &str, command: &str| script.matches(&format!(" {command} \"")).count();
            let (explained, plain) = (script(text, false), script(text, true));
            assert_eq!((asks(&explained, EXPLAINED), asks(&explained, PLAIN)), (1, 0));
            assert_eq!((asks(&plain, EXPLAINED), asks(&plain, PLAIN)), (0, 1));
        }
    }
}
