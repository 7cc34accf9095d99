//! `images --filter`: which images are meant. Runs in the client.

use jiff::{SignedDuration, Timestamp};
use regex_lite::Regex;

use super::Error;
use crate::spec::filter::{self, Filters};
use crate::spec::image_ref::ImageRef;
use crate::store::Store;
use crate::store::images::Image;

/// docker's keys.
pub const KEYS: [&str; 6] = ["before", "dangling", "label", "reference", "since", "until"];

/// The filters with everything resolved that is the same for all images.
pub struct Wanted<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    references: Vec<Regex>,
}

impl<'a> Wanted<'a> {
    /// # Errors
    /// A malformed value; an image that is named and not there.
    pub fn new(store: &Store, filters: &'a Filters) -> Result<Wanted<'a>, Error> {
        let created_of = |key: &str| match filters.values(key).last() {
            None => Ok(None),
            Some(name) => store.find_image(name).map(|(image, _)| Some(created(&image))),
        };
        let mut before = created_of("before")?;
        if let Some(text) = filters.values("until").last() {
            let until = until(text)?;
            before = Some(before.map_or(until, |earlier| earlier.min(until)));
        }
        Ok(Wanted {
            filters,
            dangling: filters.boolean("dangling")?,
            before,
            since: created_of("since")?,
            references: filters
                .values("reference")
                .iter()
                .map(|text| glob(text))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether the image is meant; which of its names are, [`Wanted::admits_name`] says.
    pub fn admits(&self, store: &Store, image: &Image, tagged: bool) -> Result<bool, Error> {
        let moment = created(image);
        if self.dangling.is_some_and(|dangling| dangling == tagged)
            || self.before.is_some_and(|before| moment >= before)
            || self.since.is_some_and(|since| moment <= since)
        {
            return Ok(false);
        }
        if self.filters.values("label").is_empty() {
            return Ok(true);
        }
        let config = store.image_config(&image.id)?.config.unwrap_or_default();
        Ok(self.filters.labels("label", &config.labels.unwrap_or_default()))
    }

    /// `None` is an image without a name.
    pub fn admits_name(&self, name: Option<&ImageRef>) -> bool {
        self.references.is_empty()
            || name.is_some_and(|name| {
                let (full, short) = (name.familiar(), name.familiar_name());
                self.references.iter().any(|pattern| pattern.is_match(&full) || pattern.is_match(&short))
            })
    }
}

/// When an image was made; one that does not say is as old as can be.
pub fn created(image: &Image) -> Timestamp {
    image.created.as_deref().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A moment, or how long ago.
fn until(text: &str) -> Result<Timestamp, filter::Error> {
    let wrong = || filter::Error::Value {
        key: "until".to_owned(),
        value: text.to_owned(),
        why: "a moment as 2026-01-31T12:00:00Z or how long ago as 24h".to_owned(),
    };
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    if let Ok(seconds) = text.parse() {
        return Timestamp::from_second(seconds).map_err(|_| wrong());
    }
    let ago: SignedDuration = text.parse().map_err(|_| wrong())?;
    Timestamp::now().checked_sub(ago).map_err(|_| wrong())
}

/// Go's path.Match as a regular expression: `*` and `?` stop at a slash.
fn glob(pattern: &str) -> Result<Regex, filter::Error> {
    let mut text = String::from("^");
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        match c {
            '*' => text.push_str("[^/]*"),
            '?' => text.push_str("[^/]"),
            '[' | ']' | '-' | '^' => text.push(c),
            '\\' => text.push_str(&regex_lite::escape(&characters.next().unwrap_or('\\').to_string())),
            other => text.push_str(&regex_lite::escape(&other.to_string())),
        }
    }
    text.push('$');
    Regex::new(&text).map_err(|_| filter::Error::Value {
        key: "reference".to_owned(),
        value: pattern.to_owned(),
        why: "syntax error in pattern".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_matched_as_paths() {
        let matches = |pattern: &str, name: &str| glob(pattern).unwrap().is_match(name);
        assert!(matches("redis", "redis"));
        assert!(matches("re*", "redis"));
        assert!(matches("*/app:*", "team/app:1.2"));
        assert!(!matches("re*", "team/redis"));
        assert!(matches("busybox:1.3[0-9]", "busybox:1.36"));
        assert!(!matches("a.c", "abc"));
        assert!(glob("[").is_err());
    }

    #[test]
    fn until_takes_a_moment_or_an_age() {
        assert_eq!(until("2026-01-31T12:00:00Z").unwrap().as_second(), 1_769_860_800);
        assert_eq!(until("12").unwrap().as_second(), 12);
        assert!(until("24h").unwrap() < Timestamp::now());
        assert!(until("soon").is_err());
    }
}
