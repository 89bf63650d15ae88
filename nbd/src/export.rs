//! The exports of a server, as clients see them.

use melv_serve::{Export, Exports};

use crate::wire::export;

/// Returns the transmission flags of an export.
pub(crate) fn flags(can_df: bool) -> u16 {
    let always = export::HAS_FLAGS | export::READ_ONLY | export::SEND_FLUSH | export::SEND_FUA;
    let df = if can_df { export::SEND_DF } else { 0 };
    // The export is read-only, so all connections read the same data.
    always | export::CAN_MULTI_CONN | export::SEND_CACHE | df
}

/// Returns all names with their descriptions. A client is told of none if they cannot be listed.
pub(crate) fn list(exports: &dyn Exports) -> Vec<(String, String)> {
    let entries = exports.list().unwrap_or_else(|error| {
        tracing::error!(%error, "cannot list the images");
        Vec::new()
    });
    entries.into_iter().map(|entry| (entry.full_name(), entry.description)).collect()
}

/// Opens the disk of this name. A client is told that there is none if it cannot be opened.
pub(crate) fn open(exports: &dyn Exports, name: &str) -> Option<Export> {
    exports.open(name).unwrap_or_else(|error| {
        tracing::error!(name, %error, "cannot open an image");
        None
    })
}
