//! Container names: what is a valid one, and the random `adjective_surname` of a container without one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A container's name: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, without docker's leading slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerName(String);

/// Names are file names in the store.
const MAX_LENGTH: usize = 255;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidName {
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    Characters(String),
    #[error("Invalid container name ({0}): it has {length} characters, at most {MAX_LENGTH} are allowed", length = .0.len())]
    Length(String),
}

impl InvalidName {
    /// The same of the name with docker's leading slash.
    #[must_use]
    pub fn slashed(self) -> InvalidName {
        match self {
            InvalidName::Characters(name) => InvalidName::Characters(format!("/{name}")),
            length @ InvalidName::Length(_) => length,
        }
    }
}

#[rustfmt::skip]
const ADJECTIVES: [&str; 125] = [
    "able", "agile", "airy", "amber", "ample", "apt", "artful", "astute", "balmy", "blithe", "bold",
    "bonny", "boring", "brave", "breezy", "bright", "brisk", "calm", "candid", "careful", "cheery",
    "civil", "clear", "clever", "comely", "cordial", "cosy", "crisp", "curious", "dapper", "daring",
    "deft", "diligent", "eager", "earnest", "easy", "elated", "elegant", "fair", "fearless", "fertile",
    "fleet", "fluent", "fond", "frank", "fresh", "frugal", "gallant", "genial", "gentle", "giddy",
    "glad", "gleeful", "golden", "graceful", "grand", "happy", "hardy", "hearty", "helpful", "honest",
    "hopeful", "humble", "jaunty", "jolly", "jovial", "joyful", "just", "keen", "kind", "lively",
    "loyal", "lucid", "lucky", "mellow", "merry", "mighty", "mindful", "modest", "neat", "nimble",
    "noble", "patient", "peppy", "placid", "playful", "plucky", "polite", "prudent", "quick", "quiet",
    "quirky", "radiant", "rapid", "ready", "robust", "serene", "sharp", "shiny", "silent", "silver",
    "sincere", "smart", "snug", "sober", "solid", "spry", "steady", "stoic", "sturdy", "sunny",
    "supple", "swift", "tender", "tidy", "tranquil", "trusty", "upbeat", "valiant", "vivid", "warm",
    "wary", "wise", "witty", "zesty",
];

#[rustfmt::skip]
const SURNAMES: [&str; 167] = [
    "abel", "agnesi", "airy", "ampere", "anning", "apgar", "appleton", "arkwright", "avogadro",
    "babbage", "backus", "banneker", "bardeen", "becquerel", "bell", "bernoulli", "bessemer", "bohr",
    "boole", "bose", "boyle", "bragg", "brahe", "braille", "brunel", "burnell", "cannon", "cantor",
    "carnot", "carver", "cauchy", "cavendish", "chandrasekhar", "chatelet", "copernicus", "cori",
    "coulomb", "crick", "curie", "dalton", "darwin", "davy", "descartes", "diesel", "dijkstra", "dirac",
    "doppler", "edison", "einstein", "elion", "engelbart", "erdos", "euclid", "euler", "fahrenheit",
    "faraday", "fermat", "fermi", "feynman", "fleming", "fourier", "franklin", "fresnel", "fuchs",
    "galilei", "galois", "galvani", "gauss", "germain", "gilbreth", "godel", "goeppert", "goodall",
    "hamilton", "harrison", "hawking", "heaviside", "heisenberg", "helmholtz", "herschel", "hertz",
    "hilbert", "hodgkin", "hooke", "hopper", "hubble", "hypatia", "jacquard", "jenner", "johnson",
    "joule", "kelvin", "kepler", "khorana", "kirchhoff", "knuth", "kovalevskaya", "lagrange", "lamarr",
    "laplace", "lavoisier", "leavitt", "leibniz", "levi", "liskov", "lovelace", "lumiere", "marconi",
    "maxwell", "mcclintock", "meitner", "mendel", "mendeleev", "mirzakhani", "mitchell", "monge",
    "morse", "napier", "newton", "nobel", "noether", "ohm", "oppenheimer", "papin", "pascal", "pasteur",
    "pauli", "payne", "planck", "poincare", "poisson", "ptolemy", "raman", "ramanujan", "ride",
    "riemann", "ritchie", "roentgen", "rubin", "rutherford", "sabin", "salk", "sanger", "schrodinger",
    "shannon", "siemens", "somerville", "stephenson", "stevin", "stokes", "swartz", "tereshkova",
    "tesla", "thompson", "torricelli", "turing", "volta", "wallace", "watt", "wegener", "wilkins",
    "wozniak", "wright", "wu", "yalow", "yonath", "zuse",
];

impl ContainerName {
    /// A name such as `nimble_hopper` from random bits. docker adds a random digit from the second
    /// attempt on, when the name of the first was taken; `attempt` counts from 0.
    pub fn random(bits: u64, attempt: u32) -> ContainerName {
        // Taken apart like a number with mixed digits: every name is about equally likely.
        let (rest, adjective) = (bits / ADJECTIVES.len() as u64, bits % ADJECTIVES.len() as u64);
        let (rest, surname) = (rest / SURNAMES.len() as u64, rest % SURNAMES.len() as u64);
        let (adjective, surname) = (ADJECTIVES[adjective as usize], SURNAMES[surname as usize]);
        // Steve Wozniak is not boring.
        let adjective = if (adjective, surname) == ("boring", "wozniak") { "brilliant" } else { adjective };
        let digit = if attempt == 0 { String::new() } else { (rest % 10).to_string() };
        ContainerName(format!("{adjective}_{surname}{digit}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerName {
    type Err = InvalidName;

    /// One leading slash is dropped, as docker does: `inspect` prints names with it.
    fn from_str(text: &str) -> Result<ContainerName, InvalidName> {
        let name = text.strip_prefix('/').unwrap_or(text);
        let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        if !first || !rest || name.len() < 2 {
            return Err(InvalidName::Characters(text.to_owned()));
        }
        if name.len() > MAX_LENGTH {
            return Err(InvalidName::Length(text.to_owned()));
        }
        Ok(ContainerName(name.to_owned()))
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ContainerName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ContainerName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<ContainerName, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn valid_names() {
        for text in ["ab", "a1", "0_", "web-1.test_X", &"n".repeat(255)] {
            assert_eq!(text.parse::<ContainerName>().map(|name| name.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("/web".parse::<ContainerName>().map(|name| name.to_string()), Ok("web".to_owned()));
    }

    #[test]
    fn refuses_in_dockers_words() {
        for text in ["", "a", "/", "/a", "//ab", "-ab", ".ab", "_ab", "a b", "a/b", "é1", "aé", "a\n", "../x"]
        {
            assert_eq!(
                text.parse::<ContainerName>().map_err(|e| e.to_string()),
                Err(format!("Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"))
            );
        }
        assert!(matches!("n".repeat(256).parse::<ContainerName>(), Err(InvalidName::Length(_))));
    }

    #[test]
    fn random_names_are_many_and_valid() {
        let all = ADJECTIVES.len() * SURNAMES.len();
        let names: BTreeSet<String> =
            (0..all as u64).map(|bits| ContainerName::random(bits, 0).to_string()).collect();
        // The name that no container gets has another one in its place.
        assert_eq!(names.len(), all);
        assert!(!names.contains("boring_wozniak"));
        assert!(names.iter().all(|name| name.parse::<ContainerName>().is_ok()));
        assert!(ADJECTIVES.len() >= 90 && SURNAMES.len() >= 120);
    }

    #[test]
    fn a_taken_name_gets_a_digit() {
        let bits = 0x1234_5678_9abc_def0;
        let (first, second) = (ContainerName::random(bits, 0), ContainerName::random(bits, 1));
        let digit = second.as_str().strip_prefix(first.as_str()).expect("same words");
        assert!(digit.len() == 1 && digit.bytes().all(|b| b.is_ascii_digit()));
    }
}
