//! Faults of records.

use thiserror::Error;

/// The reason that a record cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The text is no record.
    #[error("{key}: {source}")]
    Json {
        /// Key of the record.
        key: &'static str,
        /// The fault.
        source: serde_json::Error,
    },
    /// The record has a version of its own.
    #[error("{key}: version {found}, expected 1")]
    Version {
        /// Key of the record.
        key: &'static str,
        /// The version.
        found: u32,
    },
    /// A value is out of its range.
    #[error("{key}: {field}: {found}, expected {expected}")]
    Value {
        /// Key of the record.
        key: &'static str,
        /// The field.
        field: &'static str,
        /// The value.
        found: String,
        /// The range.
        expected: &'static str,
    },
    /// The records of the appliance do not fit into the metadata of an image.
    #[error("the records have {found} bytes, at most {limit} fit into an image")]
    TooLong {
        /// Bytes.
        found: usize,
        /// Most bytes.
        limit: usize,
    },
}
