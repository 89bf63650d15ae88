//! Images of containers: what `docker save` writes, a folder with an OCI layout, and a tar of one.
//!
//! [`blobs`] finds files by name in an [`archive`], whose headers are read once and whose contents are read by
//! position, or in a [`folder`], where no link is followed. [`docker`] and [`layout`] each turn a list of images into
//! a [`plan`]: one configuration and its layers. [`read`] unpacks the layers and checks two digests of each while it
//! streams: the one by which the layer's file is named, and the one of the unpacked bytes, which the configuration
//! has. [`config`] is pure.

mod archive;
mod blobs;
mod config;
mod docker;
mod error;
mod folder;
mod layout;
mod name;
mod plan;
mod read;
mod section;

pub(crate) use blobs::Blobs;
pub use config::{HealthCheck, HealthTest, ImageConfig, Port};
pub use error::OciError;
pub use read::Image;
pub(crate) use read::read;
