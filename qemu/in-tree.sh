# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2016
#
# A kernel's source with this folder in it: sourced, after source.sh, by the scripts that build from
# one. The tree is in the same folder as its source and consists of hard links to the files of the
# source. A file that differs is replaced, never written to, so the source does not change.

# The folder of the targets' page, in this repository and in the kernel.
in_tree_docs=Documentation/admin-guide/device-mapper

# in_tree_dir SOURCE: prints the path of the tree of a source.
in_tree_dir() {
	printf '%s/in-tree-%s\n' "$sources" "${1##*/}"
}

# in_tree_files: prints the files of this folder for a kernel, without Cargo's and those that builds
# generate.
in_tree_files() {
	(cd "$here/.." && find Kbuild Kbuild.crates Kconfig src format/src vendor/lz4_flex \
		! -name '*_generated.rs' \( -name '*.rs' -o -name '*.[ch]' -o -name 'Kbuild*' \
		-o -name Kconfig -o -name LICENSE \)) | LC_ALL=C sort
}

# in_tree_key: prints a key of these files and of the functions that put them into a tree.
in_tree_key() {
	{
		in_tree_files
		(cd "$here/.." && in_tree_files | xargs -d '\n' cat)
		declare -f put_folder wire
	} | sha256sum | cut -c1-12
}

# put FILE: replaces its content by standard input. A file with that content keeps its time, so that
# make does not rebuild.
put() {
	rm -f "$1.new"
	cat >"$1.new"
	if cmp -s "$1.new" "$1"; then
		rm -f "$1.new"
	else
		mv -f "$1.new" "$1"
	fi
}

# wire FILE PLACE LINE [G]: adds a line to a file of the kernel, after the line that matches PLACE;
# with G after an empty line.
wire() {
	mkdir -p "$tree/${1%/*}"
	put "$tree/$1" < <(sed "/$2/{${4:+G;}a\\$3"$'\n}' "$source/$1")
	[ "$(grep -cxF -- "$3" "$tree/$1")" = 1 ] ||
		die "$1 of ${source##*/} has no line $2 after which to add '$3'"
}

# put_page SOURCE TREE: puts the page of the documentation into a tree and its index.
put_page() {
	local source=$1 tree=$2
	wire "$in_tree_docs/index.rst" '^    dm-log$' '    dm-overlaybd'
	put "$tree/$in_tree_docs/dm-overlaybd.rst" <"$here/../$in_tree_docs/dm-overlaybd.rst"
}

# put_folder SOURCE TREE: puts this folder and the page into a tree, and adds the lines that lead to
# it to files of SOURCE.
put_folder() {
	local source=$1 tree=$2 dir=$2/drivers/md/overlaybd file
	while IFS= read -r file; do
		mkdir -p "$dir/$(dirname "$file")"
		if [ -L "$here/../$file" ]; then
			ln -sfn "$(readlink "$here/../$file")" "$dir/$file"
		else
			put "$dir/$file" <"$here/../$file"
		fi
	done < <(in_tree_files)
	# Remove files that this folder no longer has.
	LC_ALL=C comm -13 <(in_tree_files) \
		<(cd "$dir" && find . ! -type d -printf '%P\n' | LC_ALL=C sort) |
		(cd "$dir" && xargs -r -d '\n' rm -f)

	wire drivers/md/Makefile '^obj-$(CONFIG_DM_VERITY)' \
		$'obj-$(CONFIG_DM_OVERLAYBD)\t+= overlaybd/'
	wire drivers/md/Kconfig '^source "drivers\/md\/dm-vdo\/Kconfig"' \
		'source "drivers/md/overlaybd/Kconfig"' G
	put_page "$source" "$tree"
}

# lock_in_tree: waits until no other run uses the tree or builds its kernel. The lock is held until
# the shell ends.
lock_in_tree() {
	exec 7>"$OVERLAYBD_CACHE/in-tree.lock"
	flock 7
}

# link_source SOURCE: creates the tree, without this folder. The caller holds the lock.
link_source() {
	local tree
	tree=$(in_tree_dir "$1")
	[ ! -e "$tree/.linked" ] || return 0
	say "linking ${1##*/} to put this folder into it"
	rm -rf "$tree" "$tree.part"
	cp -al "$1" "$tree.part"
	rm -f "$tree.part/.complete"
	touch "$tree.part/.linked"
	mv "$tree.part" "$tree"
}

# make_in_tree SOURCE: creates or updates the tree. The caller holds the lock.
make_in_tree() {
	link_source "$1"
	put_folder "$1" "$(in_tree_dir "$1")"
}

# configure_module LOG: configures the kernel in $out, which has the targets built in, for
# CONFIG_DM_OVERLAYBD=m, and sets `make` to the command that builds in it. The end of the shell
# undoes it. The caller holds the lock.
configure_module() {
	mapfile -t -d '' make <"$out/.make"
	cp "$out/.config" "$out/.config.builtin"
	mv "$out/.kernelvariables" "$out/.kernelvariables.aside"
	trap configure_built_in EXIT
	sed -i 's/^CONFIG_DM_OVERLAYBD=y$/CONFIG_DM_OVERLAYBD=m/' "$out/.config"
	# A compiler warns only when it compiles.
	rm -rf "$out/drivers/md/overlaybd"
	"${make[@]}" -s olddefconfig >"$1" 2>&1 ||
		die "the kernel's configuration failed, the whole log is $1"
	grep -qx 'CONFIG_DM_OVERLAYBD=m' "$out/.config" ||
		die "Kconfig does not take CONFIG_DM_OVERLAYBD=m"
}

# configure_built_in: restores the files that configure_module changes.
configure_built_in() {
	mv "$out/.config.builtin" "$out/.config"
	"${make[@]}" -s syncconfig
	mv "$out/.kernelvariables.aside" "$out/.kernelvariables"
}
