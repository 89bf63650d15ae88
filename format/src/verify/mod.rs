//! Verifies a store. It checks everything, changes nothing except notes in the index, and reports damage
//! as ranges of the affected images.
//!
//! | module | idea |
//! |---|---|
//! | `run`, `verifier`, `report` | selects images and objects; checks records and their trees |
//! | `chunks`, `bad_chunks` | lists chunk by chunk, and the images affected by unreadable chunks |
//! | `content` | the content id |
//! | `damaged` | the damaged objects, each once |
//! | `noted` | findings for the next writer |
//! | `objects` | packs and page files |
//! | `ranges` | ranges of images to report, and those already reported |
//!
//! Memory: the open metadata, and for each image a bounded number of ranges, regardless of the claims of
//! its map.

mod bad_chunks;
mod chunks;
mod content;
mod damaged;
mod noted;
mod objects;
mod ranges;
mod report;
mod run;
mod verifier;

pub use damaged::DamagedObject;
pub use report::{Damage, VerifyOptions, VerifyReport};
