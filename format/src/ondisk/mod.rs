//! Structures to bytes and back, as `spec/format.md` defines them. Pure: bytes in, value or
//! [`RuleViolation`](crate::fault::RuleViolation) out. No files, no policy, no allocation beyond the input's size.
//!
//! | module | object | spec |
//! |---|---|---|
//! | [`header`] | the 32 bytes that begin every object | 3 |
//! | [`store_header`] | `melv.store` | 5.1 |
//! | [`mod@reference`] | one name of an image | 5.2 |
//! | [`manifest`] | the description of an image | 7.1 |
//! | [`record`] | a manifest as stored, with its roots and the places of its pages | 7.2 |
//! | [`digest_table`] | map root, span root, span page: numbers and digests | 7.3 |
//! | [`map_leaf`] | the extents of one leaf | 7.4 |
//! | [`list`] | a chunk list's root and pages | 6.1 |
//! | [`locator`] | the positions of a list's chunks in packs | 6.5 |
//! | [`pack`] | header, index and trailer of a pack | 6.2 |
//! | [`frame`] | a chunk as stored | 6.3 |
//! | [`bundle`] | head and table of a bundle | 10.1 |

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

pub mod bundle;
pub mod cursor;
pub mod digest_table;
pub mod frame;
pub mod header;
pub mod list;
pub mod locator;
pub mod manifest;
pub mod map_leaf;
pub mod pack;
pub mod record;
pub mod reference;
pub mod store_header;
