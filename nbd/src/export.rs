//! The exports of a server.

use std::fmt::Debug;
use std::sync::Arc;

use melv_block::BlockDevice;
use melv_serve::Catalog;

use crate::wire::export;

/// A disk, as one connection sees it.
#[derive(Debug, Clone)]
pub struct Export {
    /// The name of exactly this disk.
    pub name: String,
    /// A description for people.
    pub description: String,
    /// The disk, which is held until the connection ends.
    pub disk: Arc<dyn BlockDevice>,
    /// The preferred length and alignment of requests, in bytes: a power of two, at least 512.
    pub preferred_len: u32,
}

impl Export {
    /// Returns the transmission flags of the export.
    pub(crate) fn flags(&self, can_df: bool) -> u16 {
        let always = export::HAS_FLAGS | export::READ_ONLY | export::SEND_FLUSH | export::SEND_FUA;
        let df = if can_df { export::SEND_DF } else { 0 };
        // The export is read-only, so all connections read the same data.
        always | export::CAN_MULTI_CONN | export::SEND_CACHE | df
    }
}

/// A source of disks by name; its content may change at any time.
pub trait Exports: Send + Sync + Debug {
    /// Returns all names with their descriptions.
    fn list(&self) -> Vec<(String, String)>;

    /// Opens the disk of this name; the empty name may be a default.
    fn open(&self, name: &str) -> Option<Export>;
}

impl Exports for Catalog {
    fn list(&self) -> Vec<(String, String)> {
        let entries = Self::list(self).unwrap_or_else(|error| {
            tracing::error!(%error, "the images could not be listed");
            Vec::new()
        });
        entries.iter().map(|entry| (entry.full_name(), format!("image {}", entry.image))).collect()
    }

    fn open(&self, name: &str) -> Option<Export> {
        match Self::open(self, name) {
            Ok(disk) => {
                let sector_len = disk.sector_bits().logical_bytes();
                let mut description = format!("image {}, content {}", disk.image_id(), disk.content_id());
                if sector_len != 512 {
                    description.push_str(&format!(", sectors of {sector_len} bytes"));
                }
                // The lower bound is the largest sector size of any disk.
                let preferred_len = disk.chunk_len().next_power_of_two().clamp(4096, 1 << 20);
                Some(Export { name: disk.name(), description, preferred_len, disk })
            }
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                tracing::error!(name, %error, "an image could not be opened");
                None
            }
        }
    }
}
