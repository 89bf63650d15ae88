//! One error for every crate: its kind tells the caller's next step, its place the object at fault.
//!
//! Each crate describes its failures in an enum of its own that implements [`Detail`]. `?` turns it into an
//! [`Error`]; [`Error::detail`] gives it back to a caller that knows the crate.

use std::fmt;
use std::io;

/// The result of almost every fallible call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kind of an error, by the caller's next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The name, image or file does not exist: give another name.
    NotFound,
    /// The place holds no store: name another place, or import something.
    NoStore,
    /// The name, file or content is already there: replace it or choose another name.
    Exists,
    /// An argument is not acceptable: correct the call.
    Invalid,
    /// Stored bytes break a rule of their format: repair them or bring them again.
    Damaged,
    /// Content does not have the digest it must have.
    Mismatch,
    /// The bytes are sound, but need a feature that this version lacks.
    Unsupported,
    /// The operating system refused an operation: try again, or look at the medium.
    Io,
    /// The system gives less memory than the operation takes.
    OutOfMemory,
    /// No space is left: free some and try again.
    NoSpace,
    /// Another process holds a lock: wait longer.
    Busy,
    /// The target cannot be written.
    ReadOnly,
    /// Another writer, or another use of the same thing, came in between: try again.
    Conflict,
    /// The input changed while it was read, or is not the expected one.
    Changed,
    /// The caller asked to stop.
    Interrupted,
    /// A limit of the format or of this implementation.
    Limit,
    /// The outcome of a commit is not known: look before trying again.
    Unknown,
}

/// A position inside an object, in the unit that the finder of the fault counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// A byte of the object.
    Byte(u64),
    /// A chunk of a chunk list.
    Chunk(u64),
    /// A block of the disk.
    Block(u64),
    /// A slot of a table.
    Slot(u64),
}

/// The place of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The object, file or device.
    pub object: String,
    /// The position in it, where one is known.
    pub at: Option<Position>,
}

/// A failure as the crate that found it describes it: `Display` is the message, `source` the cause.
pub trait Detail: std::error::Error + Send + Sync + 'static {
    /// The kind.
    fn kind(&self) -> ErrorKind;

    /// The object, file or device that the failure concerns.
    fn object(&self) -> Option<&str> {
        None
    }

    /// The same, to be named more fully by a caller that knows where it lies.
    fn object_mut(&mut self) -> Option<&mut String> {
        None
    }

    /// The position in the object.
    fn position(&self) -> Option<Position> {
        None
    }
}

/// An error with a kind and a place.
///
/// ```
/// use melv_block::{BlockError, Error, ErrorKind};
///
/// let error = Error::from(BlockError::OutOfRange { offset: 4096, len: 512, size: 4096 });
/// assert_eq!(error.kind(), ErrorKind::Invalid);
/// assert!(matches!(error.detail(), Some(BlockError::OutOfRange { size: 4096, .. })));
/// ```
pub struct Error(Box<dyn Detail>);

impl<D: Detail> From<D> for Error {
    fn from(detail: D) -> Self {
        Self(Box::new(detail))
    }
}

impl Error {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// The place, where the failure concerns an object.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.0.object().map(|object| Place { object: object.into(), at: self.0.position() })
    }

    /// The object, file or device that the failure concerns.
    #[must_use]
    pub fn object(&self) -> Option<&str> {
        self.0.object()
    }

    /// The same, to be named more fully by a caller that knows where it lies.
    pub fn object_mut(&mut self) -> Option<&mut String> {
        self.0.object_mut()
    }

    /// The failure as the crate that defines `D` describes it; `None` if another crate found it.
    #[must_use]
    pub fn detail<D: Detail>(&self) -> Option<&D> {
        let detail: &(dyn std::error::Error + 'static) = &*self.0;
        detail.downcast_ref()
    }

    /// The same, to be changed.
    pub fn detail_mut<D: Detail>(&mut self) -> Option<&mut D> {
        let detail: &mut (dyn std::error::Error + 'static) = &mut *self.0;
        detail.downcast_mut()
    }

    /// The failure itself, taken out of the error, or the error if another crate found it.
    ///
    /// # Errors
    /// The error as it was.
    pub fn into_detail<D: Detail>(self) -> std::result::Result<D, Self> {
        if self.detail::<D>().is_none() {
            return Err(self);
        }
        let detail: Box<dyn std::error::Error> = self.0;
        match detail.downcast() {
            Ok(detail) => Ok(*detail),
            Err(_) => unreachable!("the type was checked"),
        }
    }

    /// Whether the next try may succeed. Damage stays and can be worked around; an operation that the
    /// medium refused, or the caller stopped, must end the work that met it.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Io | ErrorKind::OutOfMemory | ErrorKind::NoSpace | ErrorKind::Interrupted
        )
    }

    /// Whether an object, image or file is missing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// An error inside an `io::Error`, complete but for the name of the object: [`Error::io`] adds it.
///
/// A reader that must return `io::Error` can so report more than the operating system's codes.
pub struct Deferred(Box<dyn Fn(String) -> Error + Send + Sync>);

impl Deferred {
    /// The error for `object`.
    pub(crate) fn of(&self, object: String) -> Error {
        (self.0)(object)
    }

    /// An `io::Error` that becomes `error(object)`.
    pub fn io_error(error: impl Fn(String) -> Error + Send + Sync + 'static) -> io::Error {
        io::Error::other(Self(Box::new(error)))
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Deferred").field(&(self.0)(String::new())).finish()
    }
}

impl fmt::Display for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&(self.0)("the object".into()), f)
    }
}

impl std::error::Error for Deferred {}

/// Looks into the error of a result.
pub trait ResultExt {
    /// The failure as the crate that defines `D` describes it; `None` for success and for failures that
    /// another crate found.
    fn detail<D: Detail>(&self) -> Option<&D>;

    /// The kind of the error; `None` for success.
    fn kind(&self) -> Option<ErrorKind>;
}

impl<T> ResultExt for Result<T> {
    fn detail<D: Detail>(&self) -> Option<&D> {
        self.as_ref().err().and_then(Error::detail)
    }

    fn kind(&self) -> Option<ErrorKind> {
        self.as_ref().err().map(Error::kind)
    }
}
