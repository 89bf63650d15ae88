//! Compiles the init of appliances: one static program, by one command of the compiler, so that no option for this
//! machine's own programs changes it.

use std::{env, path::PathBuf, process::Command};

fn main() {
    let variable = |name: &str| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let source = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("init");
    let output = PathBuf::from(variable("OUT_DIR")).join("melv-init");
    println!("cargo::rerun-if-changed={}", source.join("src").display());
    println!("cargo::rerun-if-changed={}", source.join("build").display());
    let status = Command::new(source.join("build")).arg(&output).env("RUSTC", variable("RUSTC")).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => {
            panic!("the init cannot be compiled: {status}; a static glibc is needed (package libc6-dev)")
        }
        Err(error) => panic!("{}: {error}", source.join("build").display()),
    }
}
