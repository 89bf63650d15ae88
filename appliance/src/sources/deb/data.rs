//! The files of a package as a stream.

use std::io::Read;

use super::{
    error::DebError,
    members::Members,
    read::{expect_tar, format},
};

/// Gives the bytes of `data.tar`, as they are packed, to `take`. The facts of the package are passed over.
pub(crate) fn with_data<T, E: From<DebError>>(
    input: &mut dyn Read,
    take: impl FnOnce(&mut dyn Read) -> Result<T, E>,
) -> Result<T, E> {
    let mut members = Members::new(input)?;
    format(&mut members)?;
    let member = members.next("control.tar")?;
    expect_tar(&member, "control.tar")?;
    let member = members.next("data.tar")?;
    expect_tar(&member, "data.tar")?;
    let taken = take(&mut members);
    members.check("data.tar")?;
    let taken = taken?;
    members.finish("data.tar")?;
    Ok(taken)
}
