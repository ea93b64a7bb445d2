#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The demonstration, in the guest. It opens an image of four layers, written by the reference tools,
# as one block device, and prints every command that it runs: first losetup and dmsetup, then
# overlaybdsetup. The numbers in the tables come from the manifest in the folder of the images. The
# exit status is 0 only when the content of the device is that which the reference reader returns,
# both times.

set -eu

layers='lsmt/fs0_lz4_4k.zlsmt lsmt/fs1_lz4_4k_tar.tar lsmt/fs2_lz4_4k.zlsmt lsmt/fs3_lz4_4k.zlsmt'
# The reference reader read the second layer without its tar, which does not change the content.
stack=$(echo "$layers" | sed 's/_tar\.tar/.zlsmt/g' | tr ' ' ',')

cd /overlaybd/images

title() {
	printf '\n--- %s\n' "$*"
}

run() {
	printf '$ %s\n' "$1"
	eval "$1"
}

# field FILE COLUMN: a column of the layer's row.
field() {
	awk -F '\t' -v f="$1" -v c="$2" '$1 == f { print $c }' layers.tsv
}

finish() {
	code=$?
	[ $code -eq 0 ] || printf '\nthe demonstration stopped here, status %s\n' "$code"
	sleep 0.2
	exit $code
}
trap finish EXIT

# The kernel of `make in-tree` has the targets built in.
if dmsetup targets | grep -q '^lsmt_target ' && ! grep -q '^dm_overlaybd ' /proc/modules; then
	builtin=', which has it built in'
	title "The two targets: this kernel has them built in, and there is no module to load"
else
	builtin=
	title "The module and its two targets"
	run "insmod ${MODULE:-/overlaybd/dm-overlaybd.ko}"
fi
run "dmsetup targets | grep -E 'zfile_target|lsmt_target'"

title "Each layer is compressed: a loop device for the file, a zfile_target to decompress it"
echo "(a loop device ends at the file's last whole sector, so a file of another length is padded;"
echo " a layer in a tar starts after the tar's headers)"
n=0
pairs=
for layer in $layers; do
	offset=$(field "$layer" 3)
	bytes=$(field "$layer" 4)
	content=$(field "$layer" 10)
	if [ $(($(stat -c %s "$layer") % 512)) -ne 0 ]; then
		run "cp $layer /tmp/padded$n; truncate -s %512 /tmp/padded$n"
		layer=/tmp/padded$n
	fi
	if [ "$offset" -eq 0 ]; then
		run "losetup -r -f $layer"
	else
		run "losetup -r -o $offset -f $layer"
	fi
	loop=$(losetup -n -l -O NAME,BACK-FILE |
		awk -v f="$(realpath "$layer")" '$2 == f { print $1 }')
	sectors=$(((content + 511) / 512))
	run "dmsetup create layer$n -r --table '0 $sectors zfile_target $loop $bytes'"
	pairs="$pairs /dev/mapper/layer$n $content"
	n=$((n + 1))
done

title "One lsmt_target merges the layers, lowest first"
row=$(awk -F '\t' -v s="$stack" '$4 == s' stacks.tsv)
size=$(echo "$row" | cut -f1)
want=$(echo "$row" | cut -f2)
run "dmsetup create image -r --table '0 $((size / 512)) lsmt_target$pairs'"
run 'dmsetup table'
run 'dmsetup status'

title "It holds a file system, read like any other"
run 'mount -o ro /dev/mapper/image /mnt'
run 'ls -lR /mnt | head -n 24'
files=$(find /mnt -type f | wc -l)
run 'find /mnt -type f -exec cat {} + | wc -c'
run 'df -h /mnt'
run 'umount /mnt'

title "Every byte of the device against what the reference reader returned"
run 'sha256sum /dev/mapper/image'
found=$(sha256sum /dev/mapper/image | cut -d' ' -f1)
echo "$want  (the reference reader's)"
if [ "$found" != "$want" ]; then
	echo "The content DIFFERS."
	exit 1
fi

title "Taking it down"
run 'dmsetup remove image'
i=$n
while [ $i -gt 0 ]; do
	i=$((i - 1))
	run "dmsetup remove layer$i"
done
run 'losetup -D'

title "The same in one command: overlaybdsetup detects the type of each file and does all of that"
options=
for layer in $layers; do
	options="$options --layer $layer"
done
run "overlaybdsetup open image$options --mount /mnt"
run 'dmsetup ls'
run 'overlaybdsetup status image'
run 'sha256sum /dev/mapper/image'
again=$(sha256sum /dev/mapper/image | cut -d' ' -f1)
if [ "$again" != "$want" ] || [ "$(find /mnt -type f | wc -l)" != "$files" ]; then
	echo "The content DIFFERS."
	exit 1
fi
run 'overlaybdsetup close image'
run 'dmsetup ls'
[ -n "$builtin" ] || run 'rmmod dm_overlaybd'

title "What this proved"
cat <<TEXT
On Linux $(uname -r)$builtin, dm-overlaybd decompressed $n ZFile layers written by the
reference tools (one of them in a tar) and merged them into a device of $size bytes. An ext4
mounted from it had $files files to read. All $size bytes are those the reference reader returns.
TEXT
