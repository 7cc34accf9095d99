//! Platforms: which of an index's images runs on which machine (image-spec image-index.md).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `os/architecture[/variant]`, with Go's names and normalised variants.
///
/// A variant that an architecture implies is left out, so that equal platforms compare equal:
/// `linux/arm64/v8` is `linux/arm64`, `linux/amd64/v1` is `linux/amd64`, `linux/arm` is `linux/arm/v7`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("invalid platform {0:?}: expected OS/ARCHITECTURE[/VARIANT], such as linux/amd64 or linux/arm/v7")]
pub struct InvalidPlatform(pub String);

impl Platform {
    /// From the separate fields of an index or an image configuration, whose names need not be normal.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        let os = match os {
            "macos" => "darwin".to_owned(),
            other => other.to_ascii_lowercase(),
        };
        let lower = architecture.to_ascii_lowercase();
        let (architecture, implied) = match lower.as_str() {
            "x86_64" | "x86-64" => ("amd64", None),
            "i386" | "i686" | "x86" => ("386", None),
            "aarch64" => ("arm64", None),
            "armhf" => ("arm", Some("v7")),
            "armel" => ("arm", Some("v6")),
            "arm" => ("arm", Some("v7")),
            other => (other, None),
        };
        let variant = variant.filter(|v| !v.is_empty()).or(implied);
        let variant = match (architecture, variant) {
            ("arm64", Some("8" | "v8" | "v8.0")) | ("amd64", Some("v1")) => None,
            ("arm", Some(number @ ("5" | "6" | "7" | "8"))) => Some(format!("v{number}")),
            (_, variant) => variant.map(str::to_ascii_lowercase),
        };
        Platform { os, architecture: architecture.to_owned(), variant }
    }

    /// The platform that this program was built for.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            other => other,
        };
        Platform::new(std::env::consts::OS, architecture, None)
    }

    pub fn os(&self) -> &str {
        &self.os
    }

    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// How well an offered platform serves this one: 0 is exact, more is an older variant that the same
    /// processor runs, `None` does not run here.
    pub fn distance(&self, offered: &Platform) -> Option<u32> {
        if (self.os(), self.architecture()) != (offered.os(), offered.architecture()) {
            return None;
        }
        if self.variant == offered.variant {
            return Some(0);
        }
        let (wanted, offered) = (self.level()?, offered.level()?);
        wanted.checked_sub(offered)
    }

    /// The variant as a number, where variants are ordered: amd64 v1 to v4, arm v5 to v8.
    fn level(&self) -> Option<u32> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("amd64", None) => Some(1),
            ("amd64", Some(variant)) => number(variant).filter(|level| (2..=4).contains(level)),
            ("arm", Some(variant)) => number(variant).filter(|level| (5..=8).contains(level)),
            _ => None,
        }
    }

    /// What builders attach to an image beside it (provenance): never an image to run.
    pub fn is_attestation(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }
}

fn number(variant: &str) -> Option<u32> {
    variant.strip_prefix('v')?.parse().ok()
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Platform, InvalidPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        if !parts.iter().all(word) {
            return Err(InvalidPlatform(text.to_owned()));
        }
        match parts[..] {
            [os, architecture] => Ok(Platform::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Platform::new(os, architecture, Some(variant))),
            ["linux"] => Ok(Platform::host()),
            _ => Err(InvalidPlatform(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Platform, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn normalises() {
        for (typed, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("Linux/i386", "linux/386"),
        ] {
            assert_eq!(platform(typed).to_string(), normal);
        }
        assert_eq!(platform("linux"), Platform::host());
    }

    #[test]
    fn refuses_malformed_texts() {
        for text in ["", "/", "linux/", "amd64", "linux/amd64/v1/x", "linux/a b"] {
            assert!(text.parse::<Platform>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn falls_back_to_older_variants_only() {
        let distance = |wanted: &str, offered: &str| platform(wanted).distance(&platform(offered));
        assert_eq!(distance("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(distance("linux/amd64/v3", "linux/amd64"), Some(2));
        assert_eq!(distance("linux/amd64", "linux/amd64/v2"), None);
        assert_eq!(distance("linux/arm/v7", "linux/arm/v5"), Some(2));
        assert_eq!(distance("linux/arm/v6", "linux/arm"), None);
        assert_eq!(distance("linux/arm64", "linux/arm64/v8"), Some(0));
        assert_eq!(distance("linux/arm64", "linux/arm/v7"), None);
        assert_eq!(distance("linux/amd64", "windows/amd64"), None);
        assert_eq!(distance("linux/riscv64", "linux/riscv64"), Some(0));
        assert!(Platform::new("unknown", "unknown", None).is_attestation());
    }
}
