# SPDX-License-Identifier: GPL-2.0
#
# The commands a person types; `make help` lists them. Kbuild reads Kbuild, never this file, and needs
# nothing that is set here: `make -C KDIR M=DIR modules` builds the module without it.
#
# Everything about kernels and the VM is done by the scripts in qemu/; products are put under build/
# (and target/, Cargo's), what outlives a clone under ~/.cache/dm-overlaybd.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

# Kernel, module, host tests and clippy come from one rustc, which qemu/packages fetches with the rest.
with := qemu/with-tools

# A kernel given by KDIR is built for with the compilers it names (add LLVM=… or CC=… if it does not), and
# is what the VM boots; without one, the prepared kernel KERNEL is used, and prepared first.
KERNEL ?= plain
ifdef KDIR
# rustup's proxies may be first on PATH, and have no sources of `core` as a rule.
export RUSTC ?= $(or $(wildcard /usr/bin/rustc),rustc)
OUT := $(CURDIR)/build/kdir
kdir := $(KDIR)
kbuild = $(MAKE) -C $(kdir) M=$(CURDIR)
booted = --kdir $(KDIR) --module $(OUT)/dm-overlaybd.ko
else
OUT := $(CURDIR)/build/$(KERNEL)
booted = --kernel $(KERNEL)
# A kernel that is not ours is one of Debian's, with compilers of its own.
stock := $(filter-out plain debug speed um in-tree arm64-64k,$(KERNEL))
arm64 := $(findstring arm64,$(KERNEL))
# The sets of programs of its guest.
guest := vm $(if $(stock)$(arm64),guest-amd64) $(if $(arm64),vm-arm64 guest-arm64)
# Expanded when a recipe runs: by then the kernel is there.
ifdef stock
kdir = $(shell qemu/stock $(KERNEL) --print-dir)/build
kbuild = $(MAKE) -C $(kdir) M=$(CURDIR)
else
kdir = $(shell qemu/kernel $(KERNEL) --print-dir)
kbuild = $(with) $(MAKE) -C $(kdir) M=$(CURDIR)
endif
endif

# A module that does not fit its kernel is not left there.
.PHONY: module
module: $(if $(KDIR),,kernel-$(KERNEL))
	@echo "==> module for $(kdir)"
	@mkdir -p $(OUT)
	@$(kbuild) MO=$(OUT) modules
	@$(if $(stock),packaging/check-symbols $(OUT)/dm-overlaybd.ko $(kdir) || { rm -f $(OUT)/dm-overlaybd.ko; exit 1; })
	@echo "==> $(OUT)/dm-overlaybd.ko"

.PHONY: help
help:
	@echo 'make               build the module against KDIR (default: the prepared plain kernel)'
	@echo 'make demo          boot a VM, build a stack from a real image, read it, compare it'
	@echo 'make test          all tests: test-host and test-vm'
	@echo 'make test-host     the tests that run on this machine (cargo test); TEST=name runs one'
	@echo 'make test-vm       every VM case on the debugging kernel; CASE=name runs one (CASE=list names them), TRACE=1 with sh -x'
	@echo 'make test-kernels  the VM cases on kernels of Debian and of arm64 (an hour); KERNELS="stock-7.3 ..." says which'
	@echo 'make fuzz          every fuzz target for a minute; FUZZ_SECONDS=n says how long'
	@echo 'make tool          overlaybdsetup, linked statically, with manual pages and completions; KERNEL=stock-7.3-arm64: for arm64'
	@echo 'make install       puts what `make tool` has made below DESTDIR and PREFIX (/usr/local)'
	@echo 'make deb           the packages of overlaybdsetup, and of the module for KERNEL, a release of Debian kernels, or for the newest of each series'
	@echo 'make deb-tool      the packages of overlaybdsetup alone, for amd64 and arm64'
	@echo 'make deb-dkms      the package of the source, which DKMS builds on the host that installs it'
	@echo 'make test-dkms     as root: both kinds of packages on a Debian 13 in a folder; NEW=1 builds that anew'
	@echo 'make shell         a prompt in the VM with the module loaded'
	@echo 'make bench         how fast it is, beside what else there is; BASELINE=module.ko compares with that, BENCH=--help'
	@echo 'make rust-analyzer write rust-project.json, so that editors know the kernel crate'
	@echo 'make clippy        clippy over the workspace and over the module'
	@echo 'make fmt-check     rustfmt over all Rust sources, changing nothing'
	@echo 'make shellcheck    shellcheck over all shell scripts'
	@echo 'make unsafe-check  no unsafe outside src/dm and overlaybdsetup/loop, each with its reason inside'
	@echo 'make checkpatch    what the kernel has to say of the patches that would be posted, against the answers'
	@echo 'make docs          the page of the targets, under the Sphinx of the kernel'
	@echo 'make in-tree       both of these; then the module as a part of a kernel, =m and =y, and the demonstration on =y (long)'
	@echo 'make kernels       prepare both kernels (long; the other targets do it when needed)'
	@echo 'make clean         remove what was built in this folder'
	@echo 'variables: KDIR=folder of a built kernel, KERNEL=plain|debug|stock-7.3|stock-7.3-arm64|..., CASE=name, TRACE=1, VM="--guests 1 --memory 4096", FUZZ_TARGETS=names'

# --- what the rest stands on ----------------------------------------------------------------------

sets := build vm check docs bench vm-arm64 guest-amd64 guest-arm64 target-arm64 tool
.PHONY: $(sets:%=packages-%)
$(sets:%=packages-%): packages-%:
	@qemu/packages $*

.PHONY: kernel-plain kernel-debug kernel-speed kernel-um kernel-in-tree kernel-arm64-64k kernels
kernel-plain kernel-debug kernel-speed kernel-um kernel-in-tree kernel-arm64-64k: kernel-%: packages-build
	@qemu/kernel $*
kernels: kernel-plain kernel-debug

ifdef stock
.PHONY: kernel-$(stock)
kernel-$(stock): kernel-%:
	@qemu/stock $*
endif

# Binaries for users and for guests, of the guest's architecture. Linked statically: they run on any release of any
# distribution, and the debugging kernel takes three times as long to start a program that has libraries to load.
# To fixed addresses: the linker would give any other the loader of the set of programs, which other machines have
# not got. --target keeps the flags from procedural macros; those for arm64 are qemu/with-tools'.
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
# Where Cargo puts it.
built = $(or $(CARGO_TARGET_DIR),target)/$(lastword $(static_tool))/release/overlaybdsetup
programs := packages-build packages-tool $(if $(arm64),packages-target-arm64)

# Cargo has one name for it, built with `faults` or without: each is copied to a place of its own.
.PHONY: tool tool-binary pages install
tool: tool-binary pages
tool-binary: $(programs)
	@$(cargo_tool) build --quiet --release --package overlaybdsetup $(static_tool)
	@install -D $(built) $(tool)
	@echo "==> $(tool)"
pages: packages-build packages-tool
	@rm -rf build/pages
	@$(cargo_host) run --quiet --release --package overlaybdsetup --example pages $(static) -- build/pages

# It builds nothing: root, who may run it, has no cache.
PREFIX ?= /usr/local
share = $(DESTDIR)$(PREFIX)/share
install:
	@[ -e $(tool) ] && [ -e build/pages ] || { echo 'install: error: first run make tool' >&2; exit 1; }
	install -D -m 755 $(tool) $(DESTDIR)$(PREFIX)/sbin/overlaybdsetup
	install -d $(share)/man/man8
	install -m 644 build/pages/*.8 $(share)/man/man8
	install -D -m 644 build/pages/overlaybdsetup.bash $(share)/bash-completion/completions/overlaybdsetup
	install -D -m 644 build/pages/overlaybdsetup.fish $(share)/fish/vendor_completions.d/overlaybdsetup.fish
	install -D -m 644 build/pages/_overlaybdsetup $(share)/zsh/site-functions/_overlaybdsetup

# The binaries that VM cases run, and overlaybdsetup that can be told to fail.
.PHONY: tools
tools: $(programs)
	@$(cargo_tool) build --quiet --release --package overlaybd-tools $(static_tool)
	@$(cargo_tool) build --quiet --release --package overlaybdsetup --features faults $(static_tool)
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

# What a guest is given: the module, or for one of Debian's kernels the package.
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
	@$(with) qemu/vm test $(booted) $(if $(CASE),--case $(CASE)) $(if $(TRACE),--trace) $(VM)

# The VM cases on Debian's own kernels and on those of arm64, one after the other.
.PHONY: test-kernels
test-kernels:
	@tests/kernels $(KERNELS)

# --- packages -------------------------------------------------------------------------------------

# For the kernel KERNEL, or the newest one of each series; overlaybdsetup for their architecture.
.PHONY: deb deb-tool deb-dkms
deb:
	@packaging/deb $(if $(filter command environment,$(origin KERNEL)),$(KERNEL))
	@packaging/deb tool $(if $(arm64),arm64,amd64)
deb-tool:
	@packaging/deb tool
deb-dkms:
	@packaging/deb dkms

# As root: on a Debian 13 in a folder. It takes up to an hour.
.PHONY: test-dkms
test-dkms:
	@tests/dkms $(if $(NEW),--new)

# --- measuring ------------------------------------------------------------------------------------

# In User-mode Linux, which runs kernel code at the processor's own speed without KVM, or with
# KERNEL=speed in QEMU. BENCH is what else tests/bench/run is to be told.
.PHONY: bench
bench: KERNEL = um
bench: tools packages-vm packages-bench
	@$(MAKE) KERNEL=$(KERNEL) module
	@$(with) cargo build --quiet --profile kernel --package overlaybd-tools --bin indexspeed
	@$(with) "$$(qemu/packages --print-dir bench)/usr/bin/python3" -B tests/bench/run \
		$(if $(filter um,$(KERNEL)),,--qemu) $(BENCH)

# --- reading and checking -------------------------------------------------------------------------

.PHONY: rust-analyzer
rust-analyzer: module
	@$(kbuild) MO=$(OUT) rust-analyzer
	@$(with) qemu/rust-project $(OUT)
	@echo '==> for the host crates as well, let the editor link both rust-project.json and Cargo.toml'

.PHONY: fmt-check
fmt-check: packages-build
	@$(with) cargo-fmt --all --check
	@$(with) cargo-fmt --manifest-path tests/fuzz/Cargo.toml --check
	@$(with) rustfmt --edition 2021 --check src/dm_overlaybd.rs tests/bench/kernel/decode.rs

# cargo-clippy and cargo-fmt by name: cargo would look for them in a rustup folder first.
.PHONY: clippy clippy-host clippy-module
clippy: clippy-host clippy-module
clippy-host: packages-build packages-tool
	@$(with) cargo-clippy clippy --workspace --all-targets -- -D warnings
	@$(with) cargo-clippy clippy --manifest-path tests/fuzz/Cargo.toml --all-targets -- -D warnings
clippy-module: $(if $(KDIR),,kernel-$(KERNEL))
	@mkdir -p build/clippy
	@$(kbuild) MO=$(CURDIR)/build/clippy CLIPPY=1 KRUSTFLAGS=-Dwarnings modules

# All shell scripts, and with them what they source. .shellcheckrc says how.
.PHONY: shellcheck
shellcheck: packages-check
	@grep -rIlE '^#!/(usr/)?bin/(env )?(ba)?sh$$' .ci packaging qemu tests vendor/verify.sh | \
		xargs "$$(qemu/packages --print-dir check)/usr/bin/shellcheck" --check-sourced

.PHONY: unsafe-check
unsafe-check: packages-build
	@$(with) tests/check-unsafe

# --- in the kernel's own tree ---------------------------------------------------------------------

.PHONY: kernel-source
kernel-source: packages-build
	@qemu/kernel source

.PHONY: checkpatch
checkpatch: packages-check kernel-source
	@tests/checkpatch

.PHONY: docs
docs: packages-build packages-docs kernel-source
	@$(with) tests/docs

.PHONY: in-tree
in-tree: checkpatch docs packages-vm kernel-in-tree
	@$(with) qemu/in-tree

.PHONY: clean
clean:
	rm -rf build target rust-project.json
