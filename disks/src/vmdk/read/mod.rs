//! Reads VMDKs: files at any offset (`disk`), and a pipe from front to back (`stream`). `files` alone opens
//! files, each of them through the gate that the caller passes.

pub(crate) mod beside;
pub(crate) mod disk;
pub(crate) mod files;
pub(crate) mod outline;
pub(crate) mod recent;
pub(crate) mod sparse;
pub(crate) mod sparse_read;
pub(crate) mod stream;
pub(crate) mod stream_front;
pub(crate) mod stream_input;
