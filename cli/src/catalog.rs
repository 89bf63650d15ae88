//! What a front end serves, from what the command line names.

use melv::{Catalog, ImageRef};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::bundle_ref::BundleRef;
use crate::exit::Failure;
use crate::session::Session;

/// Bound of a front end's cache where none is given.
pub const CACHE_DEFAULT: &str = "256MiB";

/// The images that `references` mean, a bundle without `#` meaning all of its own; without any, all of the
/// store, also those that come later.
pub fn of(references: &[String], session: &Session<'_>) -> Result<Catalog, Failure> {
    if references.is_empty() {
        return Ok(Catalog::all(session.store()?));
    }
    let mut catalog = Catalog::of_chosen();
    let mut opened = None;
    for text in references {
        if let Some(bundle) = BundleRef::of_reference(text)? {
            add_bundle(&mut catalog, &bundle, session)?;
            continue;
        }
        // One store for all: a name then costs a look at its record and at its image's.
        let store = match &opened {
            Some(store) => store,
            None => opened.insert(session.store()?),
        };
        let reference = text.parse()?;
        let image = store.image(&reference)?;
        let name = match reference {
            // A short id is no name.
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
        let image = bundle.check_held(store.image(&reference))?;
        let name = match &reference {
            ImageRef::Name(name) => Some(name),
            ImageRef::Id(_) | ImageRef::ShortId(_) => None,
        };
        catalog.add(name, &store, &image);
    }
    Ok(())
}

/// Lets the process have as many files open as the system allows: an image that is read holds its packs
/// open, about one descriptor for 64 MiB stored, and every client has a socket.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Refused nowhere; and most stores are served by the lower limit, too.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
