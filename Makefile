# SPDX-License-Identifier: GPL-2.0
#
# The commands for developers; `make help` lists them. Kbuild never reads this file and needs no
# variable of it: `make -C KDIR M=DIR modules` builds the module without it.
#
# The scripts in qemu/ prepare kernels and run the VM. Products are in build/ (Cargo's in target/).
# Kernels and programs are in ~/.cache/dm-overlaybd, which all clones share.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

# One rustc compiles kernel, module and host tests and runs clippy. qemu/packages fetches it.
with := qemu/with-tools

# With KDIR the module is built for that kernel, with the compilers that it names (add LLVM=… or
# CC=… if it names none), and the VM boots it. Without KDIR the kernel KERNEL is prepared and used.
KERNEL ?= plain
ifdef KDIR
# The first rustc on PATH may be a proxy of rustup, which usually lacks the sources of `core`.
export RUSTC ?= $(or $(wildcard /usr/bin/rustc),rustc)
OUT := $(CURDIR)/build/kdir
kdir := $(KDIR)
kbuild = $(MAKE) -C $(kdir) M=$(CURDIR)
booted = --kdir $(KDIR) --module $(OUT)/dm-overlaybd.ko
else
OUT := $(CURDIR)/build/$(KERNEL)
booted = --kernel $(KERNEL)
# Any other kernel is one of Debian's, and has its own compilers.
stock := $(filter-out plain debug speed um in-tree arm64-64k,$(KERNEL))
arm64 := $(findstring arm64,$(KERNEL))
# The sets of programs for its guest.
guest := vm $(if $(stock)$(arm64),guest-amd64) $(if $(arm64),vm-arm64 guest-arm64)
# Expanded when a recipe runs, after the kernel is prepared.
ifdef stock
kdir = $(shell qemu/stock $(KERNEL) --print-dir)/build
kbuild = $(MAKE) -C $(kdir) M=$(CURDIR)
else
kdir = $(shell qemu/kernel $(KERNEL) --print-dir)
kbuild = $(with) $(MAKE) -C $(kdir) M=$(CURDIR)
endif
endif

# A module that does not fit its kernel is removed.
.PHONY: module
module: $(if $(KDIR),,kernel-$(KERNEL))
	@echo "==> module for $(kdir)"
	@mkdir -p $(OUT)
	@$(kbuild) MO=$(OUT) modules
	@$(if $(stock),packaging/check-symbols $(OUT)/dm-overlaybd.ko $(kdir) || \
		{ rm -f $(OUT)/dm-overlaybd.ko; exit 1; })
	@echo "==> $(OUT)/dm-overlaybd.ko"

.PHONY: help
help:
	@echo 'make               build the module for KDIR (default: the prepared plain kernel)'
	@echo 'make demo          boot a VM, build a stack from a real image, read it, compare it'
	@echo 'make test          all tests: test-host and test-vm'
	@echo 'make test-host     the tests that run on the host (cargo test); TEST=name runs one'
	@echo 'make test-vm       every VM case on the debugging kernel; CASE=name runs one'
	@echo '                   (CASE=list lists them), TRACE=1 runs it with sh -x'
	@echo 'make test-kernels  the VM cases on kernels of Debian and for arm64 (an hour);'
	@echo '                   KERNELS="stock-7.3 ..." selects some'
	@echo 'make test-systemd  a VM case in a guest with systemd as its init'
	@echo 'make soak          an hour of reads, reloads and removals in the VM;'
	@echo '                   SOAK_SECONDS=n for n seconds'
	@echo 'make fuzz-vm       an hour of generated images and random requests to device-mapper'
	@echo '                   in the VM; FUZZ_SECONDS=n for n seconds'
	@echo 'make test-mutants  build the module with one fault after the other, and show which'
	@echo '                   case catches it; then the same for format and its tests (half'
	@echo '                   an hour); MUTANTS=names of faults in the module'
	@echo 'make coverage      which lines of src and format the tests run'
	@echo 'make fuzz          every fuzz target for a minute; FUZZ_SECONDS=n for n seconds'
	@echo 'make tool          overlaybdsetup, linked statically, manual pages and completions;'
	@echo '                   KERNEL=stock-7.3-arm64: for arm64'
	@echo 'make install       install the products of `make tool` to DESTDIR and PREFIX'
	@echo '                   (/usr/local)'
	@echo 'make deb           the packages of overlaybdsetup, and of the module for KERNEL, a'
	@echo '                   release of Debian kernels, or for the newest of each series'
	@echo 'make deb-tool      the packages of overlaybdsetup alone, for amd64 and arm64'
	@echo 'make deb-dkms      the package of the source, which DKMS builds on the host that'
	@echo '                   installs it'
	@echo 'make test-dkms     as root: both kinds of packages in a Debian 13 in a folder; NEW=1'
	@echo '                   builds that anew'
	@echo 'make shell         a prompt in the VM with the module loaded'
	@echo 'make bench         measure speed, compared with the alternatives;'
	@echo '                   BASELINE=module.ko compares with that module, BENCH=--help'
	@echo 'make bench-registry  how long a program of an image in a registry takes to start'
	@echo 'make rust-analyzer write rust-project.json, so that editors know the kernel crate'
	@echo 'make clippy        clippy over the workspace and over the module'
	@echo 'make fmt-check     rustfmt over all Rust sources, changing nothing'
	@echo 'make shellcheck    shellcheck over all shell scripts'
	@echo 'make text-check    columns and words of all text files'
	@echo 'make unsafe-check  no unsafe outside the safe wrappers, each use with its'
	@echo '                   reason inside'
	@echo 'make layers-check  no circle between files, no import of a higher layer'
	@echo 'make vendor-check  the vendored crate is the published one with its patches'
	@echo 'make series        write the patches to post, build/series; SIGNOFF=1 signs them off'
	@echo '                   for the user of git, as author and maintainer too'
	@echo 'make series-check  build and check each patch of the series by itself'
	@echo 'make checkpatch    checkpatch.pl over the series, against the answers'
	@echo 'make docs          the page of the targets, under the Sphinx of the kernel'
	@echo 'make in-tree       checkpatch and docs; then the module in a kernel tree, =m and =y,'
	@echo '                   and the demonstration on =y (long)'
	@echo 'make kernels       prepare both kernels (long; the other targets do it when needed)'
	@echo 'make clean         remove the products in this folder'
	@echo 'variables: KDIR=folder of a built kernel,'
	@echo '    KERNEL=plain|debug|stock-7.3|stock-7.3-arm64|..., CASE=name, TRACE=1,'
	@echo '    VM="--guests 1 --memory 4096", FUZZ_TARGETS=names'

# --- programs and kernels -------------------------------------------------------------------------

sets := build vm check docs bench vm-arm64 guest-amd64 guest-arm64 target-arm64 tool root
.PHONY: $(sets:%=packages-%)
$(sets:%=packages-%): packages-%:
	@qemu/packages $*

.PHONY: kernel-plain kernel-debug kernel-speed kernel-um kernel-in-tree kernel-arm64-64k kernels
kernel-plain kernel-debug kernel-speed kernel-um kernel-in-tree kernel-arm64-64k: kernel-%: \
		packages-build
	@qemu/kernel $*
kernels: kernel-plain kernel-debug

ifdef stock
.PHONY: kernel-$(stock)
kernel-$(stock): kernel-%:
	@qemu/stock $*
endif

# Binaries for users and guests, of the guest's architecture. Static linking lets them run on any
# release of any distribution. On the debugging kernel a program with libraries takes three times as
# long to start. Fixed addresses: a position-independent binary would name the loader of the set of
# programs, which other machines lack. --target keeps the flags away from procedural macros.
# qemu/with-tools sets the flags for arm64.
static := --target x86_64-unknown-linux-gnu
for_all := RUSTFLAGS='-Ctarget-feature=+crt-static -Crelocation-model=static \
	--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src=crates'
cargo_host = $(for_all) $(with) cargo
ifdef arm64
static_tool := --target aarch64-unknown-linux-gnu
cargo_tool = $(with) cargo
tool := build/arm64/overlaybdsetup
else
static_tool := $(static)
cargo_tool = $(cargo_host)
tool := build/overlaybdsetup
endif
# The path of Cargo's binary.
built = $(or $(CARGO_TARGET_DIR),target)/$(lastword $(static_tool))/release/overlaybdsetup
programs := packages-build packages-tool $(if $(arm64),packages-target-arm64)

# Cargo has one path for it, with the feature `faults` or without. Each is copied to its own path.
.PHONY: tool tool-binary pages install
tool: tool-binary pages
tool-binary: $(programs)
	@$(cargo_tool) build --quiet --release --package overlaybdsetup $(static_tool)
	@install -D $(built) $(tool)
	@echo "==> $(tool)"
pages: packages-build packages-tool
	@rm -rf build/pages
	@$(cargo_host) run --quiet --release --package overlaybdsetup --example pages $(static) -- \
		build/pages

# It builds nothing: root may run it, and has no cache.
PREFIX ?= /usr/local
share = $(DESTDIR)$(PREFIX)/share
install:
	@[ -e $(tool) ] && [ -e build/pages ] || \
		{ echo 'install: error: first run make tool' >&2; exit 1; }
	install -D -m 755 $(tool) $(DESTDIR)$(PREFIX)/sbin/overlaybdsetup
	install -d $(share)/man/man8
	install -m 644 build/pages/*.8 $(share)/man/man8
	install -D -m 644 build/pages/overlaybdsetup.bash \
		$(share)/bash-completion/completions/overlaybdsetup
	install -D -m 644 build/pages/overlaybdsetup.fish \
		$(share)/fish/vendor_completions.d/overlaybdsetup.fish
	install -D -m 644 build/pages/_overlaybdsetup $(share)/zsh/site-functions/_overlaybdsetup

# The binaries that VM cases run, and overlaybdsetup with faults.
.PHONY: tools
tools: $(programs)
	@$(cargo_tool) build --quiet --release --package overlaybd-tools $(static_tool)
	@$(cargo_tool) build --quiet --release --package overlaybdsetup --features faults \
		$(static_tool)
	@install -D $(built) build/faults/$(tool:build/%=%)

# --- running --------------------------------------------------------------------------------------

.PHONY: demo
demo: bootable tool-binary
	@$(with) qemu/vm demo $(booted)

.PHONY: shell
shell: packages-build bootable tools
	@$(with) qemu/vm shell $(booted)

.PHONY: test
test: packages-build packages-tool
	@$(with) tests/all

.PHONY: test-host
test-host: packages-build packages-tool
	@$(with) cargo test --workspace --no-fail-fast $(if $(TEST),$(TEST))

.PHONY: fuzz
fuzz: packages-build
	@$(with) tests/fuzz/run $(or $(FUZZ_SECONDS),60) $(FUZZ_TARGETS)

# What a guest loads: the module, or for one of Debian's kernels the package.
.PHONY: bootable
ifdef stock
bootable: $(guest:%=packages-%)
	@qemu/stock $(KERNEL) --boot
	@packaging/deb $(KERNEL)
else
bootable: $(guest:%=packages-%) module
endif

.PHONY: test-vm
test-vm: KERNEL := debug
test-vm:
	@$(MAKE) KERNEL=$(KERNEL) bootable tools
	@$(with) qemu/vm test $(booted) $(if $(CASE),--case $(CASE)) $(if $(TRACE),--trace) \
		$(if $(SHARE),--share) $(VM)

# Its guest is one of Debian's with systemd.
.PHONY: test-systemd
test-systemd: KERNEL := stock-7.3
test-systemd:
	@$(MAKE) test-vm KERNEL=$(KERNEL) CASE=tool-systemd

# One case for as long as one likes.
.PHONY: soak fuzz-vm
soak fuzz-vm: KERNEL := debug
soak: CASE := soak
soak: SECONDS := $(or $(SOAK_SECONDS),3600)
fuzz-vm: CASE := fuzz
fuzz-vm: SECONDS := $(or $(FUZZ_SECONDS),3600)
soak fuzz-vm:
	@$(MAKE) KERNEL=$(KERNEL) bootable tools
	@$(with) qemu/vm test $(booted) --case $(CASE) --seconds $(SECONDS) $(VM)

.PHONY: test-mutants
test-mutants: kernel-plain kernel-debug packages-vm tools
	@tests/mutants/run $(MUTANTS)
	@$(if $(MUTANTS),,tests/mutants/format)

.PHONY: coverage
coverage: kernel-plain kernel-debug packages-vm tools
	@tests/coverage/run

# The VM cases on Debian's kernels and on those for arm64, one kernel after the other.
.PHONY: test-kernels
test-kernels:
	@tests/kernels $(KERNELS)

# --- packages -------------------------------------------------------------------------------------

# For the kernel KERNEL, or the newest of each series; overlaybdsetup for their architecture.
.PHONY: deb deb-tool deb-dkms
deb:
	@packaging/deb $(if $(filter command environment,$(origin KERNEL)),$(KERNEL))
	@packaging/deb tool $(if $(arm64),arm64,amd64)
deb-tool:
	@packaging/deb tool
deb-dkms:
	@packaging/deb dkms

# Needs root: in a Debian 13 in a folder. It takes up to an hour.
.PHONY: test-dkms
test-dkms:
	@tests/dkms $(if $(NEW),--new)

# --- measuring ------------------------------------------------------------------------------------

# In User-mode Linux, which runs kernel code at the processor's own speed without KVM, or with
# KERNEL=speed in QEMU. BENCH has more options for tests/bench/run.
.PHONY: bench
bench: KERNEL = um
bench: tools packages-vm packages-bench packages-root
	@$(MAKE) KERNEL=$(KERNEL) module
	@$(with) cargo build --quiet --profile kernel --package overlaybd-tools --bin indexspeed
	@$(with) "$$(qemu/packages --print-dir bench)/usr/bin/python3" -B tests/bench/run \
		$(if $(filter um,$(KERNEL)),,--qemu) $(BENCH)

# On one of Debian's kernels: their guests have a registry.
.PHONY: bench-registry
bench-registry: KERNEL = stock-7.3
bench-registry: packages-bench
	@$(MAKE) KERNEL=$(KERNEL) bootable tools
	@$(with) "$$(qemu/packages --print-dir bench)/usr/bin/python3" -B tests/bench/registry \
		$(KERNEL) $(or $(BENCH_SECONDS),300) build/bench --kernel $(KERNEL)

# --- reading and checking -------------------------------------------------------------------------

.PHONY: rust-analyzer
rust-analyzer: module
	@$(kbuild) MO=$(OUT) rust-analyzer
	@$(with) qemu/rust-project $(OUT)
	@echo '==> for the host crates too, let the editor link rust-project.json and Cargo.toml'

.PHONY: fmt-check
fmt-check: packages-build
	@$(with) cargo-fmt --all --check
	@$(with) cargo-fmt --manifest-path tests/fuzz/Cargo.toml --check
	@$(with) rustfmt --edition 2021 --check src/dm_overlaybd.rs tests/bench/kernel/decode.rs

# cargo-clippy and cargo-fmt by name: cargo would search a folder of rustup first.
.PHONY: clippy clippy-host clippy-module
clippy: clippy-host clippy-module
clippy-host: packages-build packages-tool
	@$(with) cargo-clippy clippy --workspace --all-targets -- -D warnings
	@$(with) cargo-clippy clippy --manifest-path tests/fuzz/Cargo.toml --all-targets -- \
		-D warnings
clippy-module: $(if $(KDIR),,kernel-$(KERNEL))
	@mkdir -p build/clippy
	@$(kbuild) MO=$(CURDIR)/build/clippy CLIPPY=1 KRUSTFLAGS=-Dwarnings modules

# All shell scripts and the files they source. .shellcheckrc has the options.
.PHONY: shellcheck
shellcheck: packages-check
	@grep -rIlE '^#!/(usr/)?bin/(env )?(ba)?sh$$' .ci packaging qemu tests vendor/verify.sh | \
		xargs "$$(qemu/packages --print-dir check)/usr/bin/shellcheck" --check-sourced

.PHONY: layers-check
layers-check:
	@tests/check-layers

.PHONY: vendor-check
vendor-check:
	@sh vendor/verify.sh

.PHONY: unsafe-check
unsafe-check: packages-build
	@$(with) tests/check-unsafe

.PHONY: text-check
text-check:
	@tests/check-text

# --- in the kernel's own tree ---------------------------------------------------------------------

.PHONY: kernel-source
kernel-source: packages-build
	@qemu/kernel source

# The patches that bring this folder into a kernel tree. It builds nothing.
.PHONY: series series-check
series: packages-build kernel-source
	@$(with) packaging/series/write $(if $(SIGNOFF),--signoff)
series-check: checkpatch
	@$(with) packaging/series/check

.PHONY: checkpatch
checkpatch: packages-check series
	@tests/checkpatch

.PHONY: docs
docs: packages-build packages-docs kernel-source
	@$(with) tests/docs

.PHONY: in-tree
in-tree: checkpatch docs packages-vm kernel-in-tree tool-binary
	@$(with) qemu/in-tree

.PHONY: clean
clean:
	rm -rf build target rust-project.json
