//! The catalog of images that a front end serves.

use melv::ImageRef;
use melv_serve::Catalog;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bundle_ref::BundleRef;
use crate::failure::Failure;
use crate::session::Session;

/// The default cache size of a front end.
pub const CACHE_DEFAULT: &str = "256MiB";

/// Returns the images named by `references`; a bundle without `#` stands for all of its images. Without
/// references, returns all images of the store, including later ones.
pub fn of(references: &[String], session: &Session<'_>) -> Result<Catalog, Failure> {
    if references.is_empty() {
        return Ok(Catalog::all(session.store()?));
    }
    let mut catalog = Catalog::empty();
    let mut opened = None;
    for text in references {
        if let Some(bundle) = BundleRef::of_reference(text)? {
            add_bundle(&mut catalog, &bundle, session)?;
            continue;
        }
        // Open the store only once, so that each further name costs only its record and its image's manifest.
        let store = match &opened {
            Some(store) => store,
            None => opened.insert(session.store()?),
        };
        let reference = text.parse()?;
        let image = store.image(&reference)?;
        let name = match reference {
            // A short id is not a name.
            ImageRef::Name(name) if store.named(&name).is_ok() => Some(name),
            _ => None,
        };
        catalog.add(name.as_ref(), store, &image);
    }
    Ok(catalog)
}

fn add_bundle(catalog: &mut Catalog, bundle: &BundleRef, session: &Session<'_>) -> Result<(), Failure> {
    let store = bundle.open(session)?;
    for reference in bundle.all_refs(&store)? {
        let image = bundle.missing_from_bundle(store.image(&reference))?;
        let name = match &reference {
            ImageRef::Name(name) => Some(name),
            ImageRef::Id(_) | ImageRef::ShortId(_) => None,
        };
        catalog.add(name, &store, &image);
    }
    Ok(())
}

/// Raises the limit on open files to the hard limit. An image in use keeps its packs open, about one
/// descriptor for 64 MiB stored, and every client has a socket.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Raising the soft limit to the hard one is never refused, and the lower limit serves most stores, too.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
