//! The layers of an image into the tree, their digests checked while they pass.

use std::io;

use crate::sources::{
    compression::Decoder,
    digest::{Digest, Hashed},
    insert::{Inserter, Report, Rules},
    limits::{LAYERS, Limits},
    spool::Spool,
    tar::TarError,
    unpack,
};

use super::{
    blobs::{self, Blobs},
    config::{self, Document, ImageConfig},
    docker,
    error::OciError,
    layout,
    plan::Layer,
};

/// An image whose files are in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Its configuration.
    pub config: ImageConfig,
    /// Digests of its layers, unpacked, from the lowest on.
    pub diff_ids: Vec<Digest>,
    /// Counts over all layers.
    pub report: Report,
}

/// Reads one image into a tree.
pub(crate) fn read(
    blobs: &Blobs,
    wanted: Option<&str>,
    limits: &Limits,
    spool: &mut Spool,
    inserter: &mut Inserter,
) -> Result<Image, OciError> {
    // Newer versions of Docker write both lists; only the first has the names that users know.
    let plan = match (blobs.find("manifest.json")?, blobs.find("index.json")?) {
        (Some(list), _) => docker::plan(blobs, list, wanted)?,
        (None, Some(list)) => layout::plan(blobs, list, wanted)?,
        (None, None) => return Err(OciError::NoList),
    };
    let diff_ids = diff_ids(&plan.config)?;
    if plan.layers.len() > LAYERS {
        return Err(OciError::Layers { found: plan.layers.len(), limit: LAYERS });
    }
    if plan.layers.len() != diff_ids.len() {
        return Err(OciError::DiffIds { layers: plan.layers.len(), diff_ids: diff_ids.len() });
    }
    let config = config::of(plan.config)?;
    let mut report = Report::default();
    for (at, (layer, diff_id)) in plan.layers.into_iter().zip(&diff_ids).enumerate() {
        inserter.begin(&format!("layer {}", at + 1), Rules::Layer);
        unpack_layer(at + 1, layer, *diff_id, limits, spool, inserter)?;
        report.add(inserter.report_mut());
    }
    Ok(Image { config, diff_ids, report })
}

/// Checks the kind of machine, and returns the digests of the layers.
fn diff_ids(config: &Document) -> Result<Vec<Digest>, OciError> {
    if config.architecture != "amd64" || config.os != "linux" {
        let shown = |text: &str| crate::sources::shown(text.as_bytes());
        let found = vec![format!("{}/{}", shown(&config.os), shown(&config.architecture))];
        return Err(OciError::Platform { found });
    }
    if config.rootfs.kind != "layers" {
        return Err(OciError::Config { field: "rootfs.type", value: config.rootfs.kind.clone() });
    }
    config.rootfs.diff_ids.as_deref().unwrap_or_default().iter().map(|text| blobs::digest(text)).collect()
}

/// Unpacks a layer. Where its digest differs, that is the failure, whatever else the wrong bytes led to.
fn unpack_layer(
    number: usize,
    layer: Layer,
    diff_id: Digest,
    limits: &Limits,
    spool: &mut Spool,
    inserter: &mut Inserter,
) -> Result<(), OciError> {
    let Layer { name, section, digest } = layer;
    let mut packed = Hashed::new(section);
    let (unpacked, found) = match Decoder::new(&mut packed, limits.archive_bytes) {
        Err(source) => (Err(TarError::Read { entry: 0, offset: 0, source }.into()), None),
        Ok(decoder) => {
            let mut stream = Hashed::new(decoder);
            let unpacked = unpack::unpack(&mut stream, spool, inserter, None);
            let whole = io::copy(&mut stream, &mut io::sink());
            (unpacked, whole.ok().map(|_| stream.finish()))
        }
    };
    let read = io::copy(&mut packed, &mut io::sink());
    if read.is_ok() {
        blobs::check_digest(&name, digest, packed.finish())?;
    }
    if let Some(found) = found {
        blobs::check_digest(&name, Some(diff_id), found)?;
    }
    unpacked.map_err(|source| OciError::Layer { number, name: name.clone(), source })?;
    read.map_err(|source| OciError::Read { name, source })?;
    Ok(())
}
