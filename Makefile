# Every target sets up what it needs: see benches/setup.

CARGO ?= cargo
# The harness in fuzz/ is a workspace of its own; what it has in common with the project is built once.
FUZZ = CARGO_TARGET_DIR=$(abspath $(or $(CARGO_TARGET_DIR),target)) $(CARGO)
export MELV ?= $(or $(CARGO_TARGET_DIR),target)/release/melv

.PHONY: all build test demo bench bench-index compare record-boot lint check-disks check-serve check-hostile \
	check-appliances check-bare check-crash check-outcomes check-scale check-speed fuzz clean

all: build

build:
	benches/setup test
	$(CARGO) build --release --locked -p melv-cli

# All tests: promises of the library and of the command, vectors, examples in the docs; then the
# second reader over the vectors; then everything that fuzzing keeps and ever found. Ends with their number.
test:
	benches/setup test
	spec/reader/setup
	CARGO="$(CARGO)" benches/run-tests

# The main job on real input: disks from this machine's own files, shared, read back, compared.
demo: build
	benches/setup demo
	benches/demo/run

# The gate's other half: format, lints, docs, dependencies, and that examples and benches build.
lint:
	benches/setup test
	$(CARGO) fmt --all --check
	$(CARGO) fmt --all --check --manifest-path fuzz/Cargo.toml
	benches/check-english
	benches/check-dependencies --self-test
	benches/check-dependencies
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --lib --no-deps --locked
	$(CARGO) build --workspace --examples --benches --locked
	$(FUZZ) clippy --locked --manifest-path fuzz/Cargo.toml --lib --tests --examples -- -D warnings

# All figures beside their floors, in target/bench/report.html: root, loop devices, memory cgroups, about
# 35 minutes, 20 of them for the block index at a TiB.
bench:
	benches/bench

# The figures on eight real disks: root and loop devices, about 35 minutes.
check-disks:
	benches/check-disks

# `melv serve` with every client that others wrote, and beside nbdkit and qemu-nbd: root, QEMU, about 20 minutes.
check-serve: build
	MELV=$(abspath $(MELV)) benches/check-serve

# The block index at the size of a TiB of different blocks: root, memory cgroups, 30 GB of disk, about
# 20 minutes.
bench-index:
	benches/index-scale

# Other tools on the same disks, into benches/RESULTS.md: root and loop devices, about 15 minutes.
compare:
	benches/compare

# The reads of a boot, into benches/boot/nginx.trace: a minute or two once the disks are built.
record-boot:
	benches/boot/record

# A million changed bundles, a million changed VMDKs and five million changed NBD conversations: about half an hour.
check-hostile:
	benches/setup test
	MELV_CASES=1000000 $(CARGO) test --locked -p melv --test bundle_hostile --test vmdk_hostile -- --nocapture
	MELV_CASES=5000000 $(CARGO) test --locked -p melv-nbd --test fuzz -- --nocapture

# Appliances from packages of Debian, booted under QEMU without KVM by BIOS and UEFI, and the tests that need root,
# packages or virt-v2v: the network once, about 30 minutes.
check-appliances: build
	MELV=$(abspath $(MELV)) benches/check-appliances

# 300,000 different states after a loss of power, beneath the folder; about 15 minutes of one core.
STATES ?= 300000
check-crash:
	benches/setup test
	MELV_CRASH_STATES=$(STATES) $(CARGO) test --release --locked -p melv --test crash_states check_crash \
		-- --ignored --nocapture

# How 7,000 inputs end, in target/outcomes: recorded by the first run, compared by the next ones: root, about 4 minutes.
OUTCOMES ?= $(or $(CARGO_TARGET_DIR),target)/outcomes
check-outcomes: build
	MELV=$(abspath $(MELV)) benches/check-outcomes $(if $(wildcard $(OUTCOMES)),compare,record) $(OUTCOMES)

# How costs grow with images, names, generations and the size of sparse disks: root, /dev/fuse, about 25
# minutes and 4 GB.
check-scale: build
	benches/setup scale
	MELV=$(abspath $(MELV)) benches/check-scale

# This build beside that of commit BASE, by instructions and by interleaved pairs: about 15 minutes.
check-speed:
	benches/setup speed
	benches/check-speed $(BASE)

# `make demo` and `make test` from a fresh clone on a bare Debian 12 and 13: root, 15 GB of disk, an hour.
check-bare:
	benches/setup bare
	benches/check-bare

# Coverage-guided fuzzing, SECONDS for each target (more options: fuzz/all), a row each.
SECONDS ?= 60
fuzz:
	benches/setup fuzz
	fuzz/all $(SECONDS)

clean:
	$(CARGO) clean
