# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2016
#
# A kernel's source with this folder in it: sourced, after source.sh, by the scripts that build from one.
# The tree stands beside the source it is made of and consists of hard links to that one's files. A file
# that differs is replaced, never written to: the source stays as it was unpacked.

# Where the page of the targets is, here and there.
in_tree_docs=Documentation/admin-guide/device-mapper

# in_tree_dir SOURCE: where the tree made of a source is.
in_tree_dir() {
	printf '%s/in-tree-%s\n' "$sources" "${1##*/}"
}

# What a kernel takes of this folder: no Cargo files, and nothing that a build has left here.
in_tree_files() {
	(cd "$here/.." && find Kbuild Kbuild.crates Kconfig src format/src vendor/lz4_flex ! -name '*_generated.rs' \
		\( -name '*.rs' -o -name '*.[ch]' -o -name 'Kbuild*' -o -name Kconfig -o -name LICENSE \)) | LC_ALL=C sort
}

# Another state of these files, or of how they are wired, has another key.
in_tree_key() {
	{
		in_tree_files
		(cd "$here/.." && in_tree_files | xargs -d '\n' cat)
		declare -f put_folder wire
	} | sha256sum | cut -c1-12
}

# put FILE: gives it the content on standard input. One that has it keeps its time, so that make sees
# nothing new there.
put() {
	rm -f "$1.new"
	cat >"$1.new"
	if cmp -s "$1.new" "$1"; then
		rm -f "$1.new"
	else
		mv -f "$1.new" "$1"
	fi
}

# wire FILE PLACE LINE [G]: adds a line to a file of the kernel, behind the one that matches; with a G behind
# an empty one.
wire() {
	mkdir -p "$tree/${1%/*}"
	put "$tree/$1" < <(sed "/$2/{${4:+G;}a\\$3"$'\n}' "$source/$1")
	[ "$(grep -cxF -- "$3" "$tree/$1")" = 1 ] ||
		die "$1 of ${source##*/} has no line $2 behind which to add '$3'"
}

# put_page SOURCE TREE: puts the page of the documentation into a tree, and into the list of pages.
put_page() {
	local source=$1 tree=$2
	wire "$in_tree_docs/index.rst" '^    dm-log$' '    dm-overlaybd'
	put "$tree/$in_tree_docs/dm-overlaybd.rst" <"$here/../$in_tree_docs/dm-overlaybd.rst"
}

# put_folder SOURCE TREE: puts this folder into a tree, with the page and with the lines that lead to it
# in the files of SOURCE.
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
	# What this folder no longer has.
	LC_ALL=C comm -13 <(in_tree_files) <(cd "$dir" && find . ! -type d -printf '%P\n' | LC_ALL=C sort) |
		(cd "$dir" && xargs -r -d '\n' rm -f)

	wire drivers/md/Makefile '^obj-$(CONFIG_DM_VERITY)' $'obj-$(CONFIG_DM_OVERLAYBD)\t+= overlaybd/'
	wire drivers/md/Kconfig '^source "drivers\/md\/dm-vdo\/Kconfig"' 'source "drivers/md/overlaybd/Kconfig"' G
	put_page "$source" "$tree"
}

# Waits until no one else has the tree, or the build of a kernel of it, and holds both until the shell ends.
lock_in_tree() {
	exec 7>"$OVERLAYBD_CACHE/in-tree.lock"
	flock 7
}

# link_source SOURCE: makes the tree, without this folder. It is locked, here and in what follows.
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

# make_in_tree SOURCE: makes the tree, or brings it up to date.
make_in_tree() {
	link_source "$1"
	put_folder "$1" "$(in_tree_dir "$1")"
}
