//! `melv map`: lists the runs of data and zeros of a disk, and how old they are.

use std::io::Write;

use melv::DepthRun;
use melv::image::Lineage;
use melv::{BlockDevice, BlockError, RunKind};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::stdout::{Out, write_failed};
use crate::{operand, width};

const EXAMPLES: &str = "\
Examples:
  $ melv map web
  $ melv map web.melv --json

Depth counts the steps up the lineage, from image to parent, over which a range has not changed.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Image of the store or of a bundle
    #[arg(value_name = "REF")]
    image: String,
}

pub fn run(args: &Args, session: &Session<'_>) -> Result<Exit, Failure> {
    let found = operand::image(&args.image, session)?;
    let lineage = found.in_bundle(Lineage::of(&found.images, &found.image))?;
    let mut out = session.out();
    let columns = Columns::of(found.image.size(), width::of_stdout());
    let heading = columns.line("Offset", "Length", "Depth", "Kind");
    let (begin, end) = if out.is_json() { ("{\"extents\":[", "]}\n") } else { (heading.as_str(), "") };
    out.write_all(begin.as_bytes()).map_err(write_failed)?;
    let mut is_first = true;
    // Write runs one at a time: a disk may have millions.
    let listed = lineage.for_each_run(|run| {
        write_run(&mut out, &run, is_first, &columns).map_err(write_failed)?;
        is_first = false;
        // Any error ends the walk.
        if out.is_gone() { Err(BlockError::Interrupted.into()) } else { Ok(()) }
    });
    if out.is_gone() {
        return Ok(Exit::Done);
    }
    found.in_bundle(listed)?;
    out.write_all(end.as_bytes()).and_then(|()| out.flush()).map_err(write_failed)?;
    Ok(Exit::Done)
}

/// The widths of a number and of the gap between columns, in terminal columns.
struct Columns {
    number: usize,
    gap: usize,
}

impl Columns {
    /// Fits any number, unless the terminal is too narrow. Then it fits only the numbers of this disk.
    fn of(size: u64, width: Option<usize>) -> Self {
        const WIDEST: usize = 18;
        let own = format!("{size:#x}").len().max("Offset".len());
        let of_terminal = |width| {
            let fits = |columns: &Self| columns.line("", "", "", "zero").trim_end().len() <= width;
            [(WIDEST, 2), (own, 2), (own, 1)].map(|(number, gap)| Self { number, gap }).into_iter().find(fits)
        };
        match width {
            None => Self { number: WIDEST, gap: 2 },
            Some(width) => of_terminal(width).unwrap_or(Self { number: own, gap: 1 }),
        }
    }

    fn line(&self, offset: &str, length: &str, depth: &str, kind: &str) -> String {
        let Self { number, gap } = self;
        let gap = " ".repeat(*gap);
        format!("{offset:<number$}{gap}{length:<number$}{gap}{depth:<5}{gap}{kind}\n")
    }
}

fn write_run(out: &mut Out, run: &DepthRun, is_first: bool, columns: &Columns) -> std::io::Result<()> {
    let is_data = run.kind == RunKind::Data;
    if out.is_json() {
        let separator = if is_first { "" } else { "," };
        let extent = json!({ "start": run.start, "length": run.len, "data": is_data, "zero": !is_data, "depth": run.depth });
        write!(out, "{separator}{extent}")
    } else {
        let kind = if is_data { "data" } else { "zero" };
        let (start, len) = (format!("{:#x}", run.start), format!("{:#x}", run.len));
        out.write_all(columns.line(&start, &len, &run.depth.to_string(), kind).as_bytes())
    }
}
