//! The declaration of an appliance: a TOML file, read into a value whose every field is checked.
//!
//! A declaration is written by hand, so its errors are its interface. The parser of `toml` keeps the place of each
//! key and value. [`reader`] walks over these places, table by table: each table names all its keys, an unknown one
//! is refused with the nearest known key, and every fault carries the byte where it was found and the path of the
//! key. Lines and columns are counted at the end, from that byte. Serde's derived readers were not taken: they lose
//! the place of an unknown key, and they cannot say the range or form that a value should have had.
//!
//! | file | job |
//! |---|---|
//! | `reader` | values and tables with their places |
//! | `units`, `names`, `paths`, `users` | newtypes, and the texts that they are read from |
//! | `read/` | the tables, into [`Declaration`]; `read/check` has the rules over more than one of them |
//! | `fault` | places and broken rules |
//! | `examples` | complete declarations, in the program itself |
//!
//! Rules that need the files of the appliance are not held here: whether a program is there, or whether a path runs
//! through a link. Everything here is pure: a text in, a value or a fault out.

mod examples;
mod fault;
mod names;
mod paths;
mod read;
mod reader;
mod units;
mod users;
mod value;

pub use self::{
    examples::EXAMPLES,
    fault::{DeclarationError, Rule},
    names::Signal,
    paths::{AbsolutePath, Pattern, SourcePath},
    units::{Mode, Port, Protocol, Size},
    users::{BASE_GROUPS, BASE_USERS, Owner, User},
    value::{
        Capabilities, ClosureKind, Copy, DataDisk, Declaration, Directory, Files, GeneratedSecret,
        ImageSource, Kernel, KernelSource, Limit, Link, Machine, Network, NetworkMode, PackageSource,
        Profile, Program, Ready, Repository, Restart, Secret, Service, Setup, Suite, TextFile, TimeServers,
        Writes,
    },
};

use self::fault::{Fault, Spot};

/// Longest declaration in bytes. Larger files belong beside it, for `[[copy]]`.
pub const MAX_DECLARATION_BYTES: usize = 4 << 20;

impl Declaration {
    /// Reads a declaration.
    ///
    /// # Errors
    ///
    /// The first broken rule, with line, column and key. Unknown keys of a table come before its values.
    pub fn parse(bytes: &[u8]) -> Result<Self, DeclarationError> {
        let start = |rule| DeclarationError { line: 1, column: 1, key: String::new(), rule };
        if bytes.len() > MAX_DECLARATION_BYTES {
            return Err(start(Rule::TooLong { found: bytes.len(), limit: MAX_DECLARATION_BYTES }));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let spot = Spot { offset: good.len(), key: String::new() };
            spot.fault(Rule::Encoding).locate(&good)
        })?;
        let document = toml::de::DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(text.len(), |span| span.start);
            let spot = Spot { offset, key: String::new() };
            spot.fault(Rule::Syntax(error.message().replace('\n', ", "))).locate(text)
        })?;
        read::declaration(text, document.get_ref()).map_err(|fault: Fault| fault.locate(text))
    }
}
