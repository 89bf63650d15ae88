//! Ids: one type for each kind of thing that a digest names, so that no id stands where another kind belongs.
//!
//! ```compile_fail,E0308
//! use melv_format::digest::{ListId, PackId, object_digest};
//!
//! fn open_list(_: ListId) {}
//! open_list(PackId::new(object_digest(b"a pack")));
//! ```
//!
//! ```compile_fail,E0308
//! use melv_format::digest::{ContentId, ImageId, object_digest};
//!
//! let digest = object_digest(b"an image");
//! assert_eq!(ImageId::new(digest), ContentId::new(digest));
//! ```

use std::fmt;
use std::str::FromStr;

use super::{DIGEST_LEN, Digest, ParseDigestError};

/// A digest that is known to name one kind of thing.
pub trait Id: Copy {
    /// Takes `digest` for the id of such a thing.
    fn new(digest: Digest) -> Self;

    /// Returns the digest.
    fn digest(&self) -> Digest;
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// Its text is that of a [`Digest`]. All zeros means "none" where the format permits it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        #[repr(transparent)]
        pub struct $name(Digest);

        impl $name {
            /// The id that means "none".
            pub const ZERO: Self = Self(Digest::ZERO);

            /// Takes `digest` for the id of such a thing: only its maker and its decoder know that it is one.
            #[must_use]
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// Takes the bytes of a digest for the id of such a thing.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; DIGEST_LEN]) -> Self {
                Self(Digest(bytes))
            }

            /// Returns the digest.
            #[must_use]
            pub const fn digest(&self) -> Digest {
                self.0
            }

            /// Returns the bytes of the digest.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; DIGEST_LEN] {
                &self.0.0
            }

            /// Whether this means "none".
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.0.is_zero()
            }

            /// Returns the first eight bytes as a number: see [`Digest::prefix`].
            #[must_use]
            pub fn prefix(&self) -> u64 {
                self.0.prefix()
            }

            /// Returns the first twelve hexadecimal digits, for people.
            #[must_use]
            pub fn short(&self) -> String {
                self.0.short()
            }
        }

        impl Id for $name {
            fn new(digest: Digest) -> Self {
                Self(digest)
            }

            fn digest(&self) -> Digest {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, ParseDigestError> {
                text.parse().map(Self)
            }
        }
    )*};
}

ids! {
    /// The id of an image: the object digest of its manifest.
    ImageId;
    /// The id of the bytes that a guest reads: see [`crate::content`].
    ContentId;
    /// The id of a chunk list: the object digest of its root.
    ListId;
    /// The id of a pack: the object digest of all but its frames.
    PackId;
    /// The id of a page file: the object digest of its bytes.
    PageFileId;
    /// The id of a page of an image's map or spans: the object digest of its bytes before compression.
    PageId;
    /// The id of a chunk: see [`super::chunk_id`].
    ChunkId;
    /// The digest of a block: see [`super::block_digest`].
    BlockDigest;
    /// The key of a digest log in the block index: the id of its list, or for a list that is held in part
    /// a digest of this id and the list's locator.
    LogKey;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::object_digest;

    #[test]
    fn an_id_has_the_text_and_the_order_of_its_digest() {
        let (one, other) = (object_digest(b"one"), object_digest(b"other"));
        let id = ImageId::new(one);
        assert_eq!(id.to_string(), one.to_string());
        assert_eq!(format!("{id:?}"), one.to_string());
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("ab".parse::<ImageId>(), Err(ParseDigestError));
        assert_eq!((id.digest(), id.as_bytes()), (one, &one.0));
        assert_eq!((id.short(), id.prefix()), (one.short(), one.prefix()));
        assert_eq!(id.cmp(&ImageId::new(other)), one.cmp(&other));
        assert_eq!(ImageId::from_bytes(one.0), id);
        assert!(ImageId::ZERO.is_zero() && ImageId::default().is_zero() && !id.is_zero());
    }

    #[test]
    fn an_id_is_no_larger_than_its_digest() {
        assert_eq!(size_of::<ListId>(), DIGEST_LEN);
        assert_eq!(size_of::<Option<BlockDigest>>(), size_of::<Option<Digest>>());
    }
}
