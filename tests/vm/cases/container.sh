#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A container from end to end. The layers of an OCI layout hold a root file system with a static
# busybox; overlaybdsetup opens and mounts it. An overlayfs is mounted over it, with its upper
# folder in memory, and crun runs a program of it (chroot where the kernel lacks what crun needs).
# Then the same image is used below dm-snapshot and below dm-verity.
#
# timeout: 300
# only: stock
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh

mkimage split "$CASE_TMP/layer" --content "$ROOTFS" --layers 3 --seed 4 >/dev/null
oci_layout "$CASE_TMP/oci" busybox:1 "$CASE_TMP/layer.0" "$CASE_TMP/layer.1" "$CASE_TMP/layer.2"
rm "$CASE_TMP"/layer.*
lower=$CASE_TMP/lower
mkdir "$lower"
expect_ok overlaybdsetup verify --oci "$CASE_TMP/oci:busybox:1"
open_image image --oci "$CASE_TMP/oci:busybox:1" --mount "$lower"
# Direct reads: the file system keeps its changes in the page cache of the device.
dd if=/dev/mapper/image iflag=direct bs=1M 2>/dev/null | cmp - "$ROOTFS" ||
	fail "the image is another one"

# shellcheck disable=SC2016 # for the shell in the container
run_container "$lower" /bin/sh -c 'echo hello from $(cat /etc/name); echo changed >/etc/name' \
	>"$CASE_TMP/out" 2>&1 || [ "$container" = chroot ] ||
	fail "in the container: $(cat "$CASE_TMP/out")"
expect_ok grep -qx "hello from overlaybd" "$CASE_TMP/out"
if [ "$container" = crun ]; then
	expect_eq "upper folder" "$(cat "$CASE_TMP/container.1/upper/etc/name")" changed
fi
expect_eq "image" "$(cat "$lower/etc/name")" overlaybd

# A sandbox that writes to its root.
sandbox=$CASE_TMP/sandbox
mkdir "$sandbox"
open_image sandbox --oci "$CASE_TMP/oci" --writable "$CASE_TMP/store:8M" --mount "$sandbox"
expect_ok chroot "$sandbox" /bin/sh -c 'echo written >/etc/name'
close_image sandbox
expect_eq "image" "$(cat "$lower/etc/name")" overlaybd
open_image sandbox --oci "$CASE_TMP/oci" --writable "$CASE_TMP/store" --mount "$sandbox"
expect_eq "sandbox opened again" "$(cat "$sandbox/etc/name")" written
close_image sandbox
close_image image
nothing_left

# Below dm-verity.
open_image image --oci "$CASE_TMP/oci"
sectors=$(sectors_of /dev/mapper/image)
hash=$(blkcheck verity /dev/mapper/image "$CASE_TMP/hashes")
loop_of "$CASE_TMP/hashes"
verity="1 /dev/mapper/image $loop 4096 4096 $((sectors / 8)) 0 sha256 $hash -"
dm_create verified "0 $sectors verity $verity" -r
expect_ok cmp /dev/mapper/verified "$ROOTFS"
refuses 5 "in use: below verified" close image
dm_remove verified
close_image image
report "run by $container"
