//! `tag`: one more name for an image.

use super::Error;
use crate::spec::image_ref::ImageRef;
use crate::store::Store;
use crate::store::events::of_image;

/// Points `target` to the image that `source` means, away from whatever it pointed to.
pub fn tag(store: &Store, source: &str, target: &ImageRef) -> Result<(), Error> {
    if target.digest().is_some() {
        return Err(Error::TagWithDigest);
    }
    let index = store.image_index()?;
    let (image, _) = store.find_image(source)?;
    index.tag(target, &image.id)?;
    store.note(&of_image(&image.id.to_string(), &target.familiar(), "tag"));
    Ok(())
}
