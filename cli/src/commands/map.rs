//! `melv map`: which parts of a disk are data and which zeros, and how old they are.

use std::io::Write;

use melv::image::{DepthRun, Lineage};
use melv::{Error, RunKind};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::operand::Found;
use crate::report::{Out, write_failed};
use crate::session::Session;

const EXAMPLES: &str = "\
Examples:
  $ melv map web
  $ melv map web.melv --json

Depth is the number of steps up the lineage over which a part has not changed.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store or of a bundle
    #[arg(value_name = "REF")]
    image: String,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let found = Found::of(&args.image, session)?;
    let lineage = found.told(Lineage::of(&found.store, &found.image))?;
    let mut out = session.out();
    let (begin, end) = if out.is_json() {
        ("{\"extents\":[", "]}\n")
    } else {
        ("Offset              Length              Depth  Kind\n", "")
    };
    out.write_all(begin.as_bytes()).map_err(write_failed)?;
    let mut is_first = true;
    // One at a time: a disk may have millions.
    let listed = lineage.for_each_run(|run| {
        write_run(&mut out, &run, is_first).map_err(write_failed)?;
        is_first = false;
        // Any error ends the walk.
        if out.is_gone() { Err(Error::Interrupted) } else { Ok(()) }
    });
    if out.is_gone() {
        return Ok(Exit::Done);
    }
    found.told(listed)?;
    out.write_all(end.as_bytes()).and_then(|()| out.flush()).map_err(write_failed)?;
    Ok(Exit::Done)
}

fn write_run(out: &mut Out, run: &DepthRun, is_first: bool) -> std::io::Result<()> {
    let is_data = run.kind == RunKind::Data;
    if out.is_json() {
        let separator = if is_first { "" } else { "," };
        let extent = json!({ "start": run.start, "length": run.len, "data": is_data, "zero": !is_data, "depth": run.depth });
        write!(out, "{separator}{extent}")
    } else {
        let kind = if is_data { "data" } else { "zero" };
        writeln!(out, "{:<#18x}  {:<#18x}  {:<5}  {kind}", run.start, run.len, run.depth)
    }
}
