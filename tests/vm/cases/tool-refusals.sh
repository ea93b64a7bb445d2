#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# What overlaybdsetup refuses: it names the file, the layer and the reason, exits with the
# documented status, and leaves nothing. Without the module it says how to install it; without root,
# that it needs it.
#
# timeout: 120
# only: stock
# module: none
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt
# shellcheck disable=SC2086
set -- $layers
base=$2
upper=$4

# On one of Debian's kernels a package installs the module, and modprobe finds it.
if [ "$MODULE" = /overlaybd/dm-overlaybd.ko ]; then
	refuses 4 "the kernel has no zfile_target and lsmt_target" open image "$@"
	expect_ok grep -q "dm-overlaybd-modules-$(uname -r)" "$CASE_TMP/said"
	insmod "$MODULE"
fi
open_image image "$@"
expect_ok grep -q '^dm_overlaybd ' /proc/modules
close_image image

refuses 1 "the name \"a/b\" cannot be used" open a/b "$@"
refuses 1 "the name \"overlaybd-x\" cannot be used" open overlaybd-x "$@"
refuses 4 "layer 2 of 2: cannot read /none: No such file" \
	open image --layer "$base" --layer /none
refuses 4 "layer 2 of 2: $CASE_TMP is no regular file" \
	open image --layer "$base" --layer "$CASE_TMP"
refuses 4 "cannot mount on /none" open image "$@" --mount /none
refuses 4 "cannot mount on $base: it is no folder" open image "$@" --mount "$base"

cut=$CASE_TMP/cut
head -c 100000 "$base" >"$cut"
refuses 1 "layer 1 of 2: $cut: ZFile" open image --layer "$cut" --layer "$upper"
# Two bytes of the index.
cp "$upper" "$cut"
bytes=$(stat -c %s "$cut")
printf 'xy' | dd of="$cut" bs=1 seek=$((bytes - 600)) conv=notrunc 2>/dev/null
refuses 1 "layer 2 of 2: $cut: ZFile index" open image --layer "$base" --layer "$cut"
gzip -c "$base" >"$CASE_TMP/base.gz"
refuses 1 "it is a gzip file: an ordinary layer" open image --layer "$CASE_TMP/base.gz"
printf '{}' >"$CASE_TMP/config.v1.json"
refuses 1 "config.v1.json" open image --config "$CASE_TMP/config.v1.json"

# overlaybdsetup refuses every malformed file of the set that the kernel refuses.
refused_files=0
while IFS="$TAB" read -r file _ _ verdict _; do
	case $verdict in
	rejected*) ;;
	*) continue ;;
	esac
	before=$(left)
	! overlaybdsetup open image --layer "$IMAGES/$file" >"$CASE_TMP/said" 2>&1 ||
		fail "$file is opened"
	grep -q "^overlaybdsetup: layer 1 of 1: $IMAGES/$file: " "$CASE_TMP/said" ||
		fail "$file: $(cat "$CASE_TMP/said")"
	expect_eq "what $file leaves" "$(left)" "$before"
	refused_files=$((refused_files + 1))
done <"$IMAGES/malformed.tsv"
[ $refused_files -gt 30 ] || fail "only $refused_files malformed files"

# A damaged block: the device opens, reads of the block fail, status counts them and verify finds
# it.
cp "$base" "$CASE_TMP/damaged"
printf 'garbage' | dd of="$CASE_TMP/damaged" bs=1 seek=4000 conv=notrunc 2>/dev/null
open_image image --layer "$CASE_TMP/damaged"
expect_eio dd if=/dev/mapper/image of=/dev/null bs=4k
[ "$(value_of crc_errors status image)" -gt 0 ] || fail "status counts no error"
finds "it hits sectors" "$CASE_TMP/damaged"
close_image image

# As another user.
as_user() {
	setpriv --reuid 1000 --regid 1000 --clear-groups "$@"
}
status=0
as_user overlaybdsetup open image "$@" >"$CASE_TMP/said" 2>&1 || status=$?
expect_eq "without root" "$status $(cat "$CASE_TMP/said")" \
	"2 overlaybdsetup: open needs root: device-mapper and loop devices are for root alone"
expect_ok as_user overlaybdsetup table "$@"

# /run has no room for the record of a mount, or for a lock.
mkdir -p "$CASE_TMP/mnt" /run/overlaybdsetup
mount -t tmpfs -o size=4k,nr_inodes=8 tmpfs /run/overlaybdsetup
undo_add "umount /run/overlaybdsetup"
: >/run/overlaybdsetup/.lock
dd if=/dev/zero of=/run/overlaybdsetup/full bs=4k count=1 2>/dev/null
refuses 1 "cannot write /run/overlaybdsetup/image.json: No space left" \
	open image "$@" --mount "$CASE_TMP/mnt"
# An image without a mount needs no record.
open_image image "$@"
close_image image
rm /run/overlaybdsetup/.lock
n=0
while touch "/run/overlaybdsetup/$n" 2>/dev/null; do
	n=$((n + 1))
done
refuses 1 "cannot lock /run/overlaybdsetup: No space left" open image "$@"
umount /run/overlaybdsetup
undo_drop "umount /run/overlaybdsetup"
nothing_left
report "$refused_files malformed files"
