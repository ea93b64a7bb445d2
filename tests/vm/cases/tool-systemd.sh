#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# overlaybdsetup and images in a registry where systemd is the init. Each fetcher is in a scope of
# its own, with its nbdkit, so that a device stays when the unit or the session ends in which it was
# opened. Where a scope is stopped or killed, reads of its layer fail, and the device can be closed.
# Nothing is left: no scope, no process, no folder, no device.
#
# timeout: 900
# init: systemd
. /overlaybd/tests/vm/lib.sh
. /overlaybd/tests/vm/tool.sh
. /overlaybd/tests/vm/registry.sh

# scopes: prints the scopes of fetchers, failed ones too.
scopes() {
	systemctl list-units --all --plain --no-legend 'overlaybdsetup-*' | cut -d' ' -f1
}
scopes_gone() {
	[ -z "$(scopes)" ] && ! ls -d /sys/fs/cgroup/system.slice/overlaybdsetup-*
}
# no_scopes WHEN: nothing of overlaybdsetup may be left, nor a scope or a cgroup of a fetcher.
no_scopes() {
	all_gone "$1"
	eventually 30 scopes_gone
}
# in_scopes COUNT: as many fetchers must run, each in another scope, which has its nbdkit too.
in_scopes() {
	expect_eq "scopes" "$(scopes | wc -l)" "$1"
	for is_scope in $(scopes); do
		is_group=/system.slice/$is_scope
		for is_word in fetch-blob nbdkit; do
			is_in=0
			for is_pid in $(processes $is_word); do
				[ "$(cat "/proc/$is_pid/cgroup")" != "0::$is_group" ] ||
					is_in=$((is_in + 1))
			done
			expect_eq "$is_word in $is_scope" $is_in 1
		done
		expect_eq "processes in $is_scope" \
			"$(wc -l <"/sys/fs/cgroup$is_group/cgroup.procs")" 2
	done
}

# in_unit NAME PATH COMMAND: runs a command in a service until it ends. What it leaves then is
# killed with the service.
in_unit() {
	systemd-run --quiet --collect --unit="$1" --service-type=oneshot \
		--property=KillMode=control-group --setenv=PATH="$2" --setenv=DM_DISABLE_UDEV=1 \
		sh -c "sleep 1000 & echo \$! >$CASE_TMP/sleeper; $3" ||
		fail "the unit $1 has failed"
	expect_eq "state of $1" "$(systemctl is-active "$1" || true)" inactive
	[ ! -e "/proc/$(cat "$CASE_TMP/sleeper")" ] || fail "what $1 has started still runs"
}
options="--registry 127.0.0.1:5000/two:1 --insecure"
read_two() {
	dd if=/dev/mapper/two iflag=direct bs=64k of="$CASE_TMP/read" 2>&1
}
reads_right() {
	expect_ok read_two
	expect_eq "content" "$(sha256_of "$CASE_TMP/read")" "$lower"
}

expect_eq "process 1" "$(cat /proc/1/comm)" systemd
two_images
in_scopes 0

# The device outlives the service.
in_unit opener "$PATH" "overlaybdsetup open two $options"
undo_add overlaybdsetup close two
in_scopes 2
reads_right
# Another image shares its layers, and has scopes for the others alone.
open_image image --registry "$registry/some/image:1" --insecure
in_scopes 4
holds /dev/mapper/image "$whole" "$CASE_TMP/content"
close_image image
eventually 30 fetchers 2
reads_right
in_unit closer "$PATH" "overlaybdsetup close two"
undo_drop overlaybdsetup close two
no_scopes "close in a service"

# What the scopes are for: without them the fetchers end with the service.
mkdir "$CASE_TMP/bin"
printf '#!/bin/sh\nexit 1\n' >"$CASE_TMP/bin/systemd-run"
chmod +x "$CASE_TMP/bin/systemd-run"
in_unit opener "$CASE_TMP/bin:$PATH" "overlaybdsetup open two $options"
undo_add overlaybdsetup close two
in_scopes 0
expect_eq "fetchers without a scope" "$(processes fetch-blob)" ""
expect_eio read_two
close_image two
no_scopes "close without scopes"

# The end of a session, which is a scope of systemd's.
systemd-run --quiet --scope --collect --unit=session sh -c \
	"overlaybdsetup open two $options && exec sleep 1000" >"$CASE_TMP/session" 2>&1 &
session=$!
opened() {
	grep -qx /dev/mapper/two "$CASE_TMP/session"
}
eventually 60 opened
expect_ok systemctl stop session.scope
! wait $session || fail "the session has not ended"
undo_add overlaybdsetup close two
in_scopes 2
reads_right
close_image two
no_scopes "close after the session"

# Scopes are stopped while nothing is read.
# shellcheck disable=SC2086
open_image two $options
# shellcheck disable=SC2046
expect_ok systemctl stop $(scopes)
expect_eq "fetchers" "$(processes fetch-blob)" ""
expect_eio read_two
close_image two
no_scopes "close after the scopes were stopped"

# They are killed while a read waits for fetchers that were paused. It fails when its time is over,
# and a minute.
# shellcheck disable=SC2086
open_image two $options --timeout 10
for scope in $(scopes); do
	expect_ok systemctl kill --signal=STOP "$scope"
done
read_two >"$CASE_TMP/dd" &
reader=$!
eventually 30 under_way two 1
read -r began _ </proc/uptime
for scope in $(scopes); do
	expect_ok systemctl kill --signal=KILL "$scope"
done
eventually 30 fetchers 0
! wait $reader || fail "the read has not failed"
read -r ended _ </proc/uptime
waited=$((${ended%.*} - ${began%.*}))
[ $waited -ge 60 ] || fail "a read has waited for $waited seconds, and was not under way"
[ $waited -le 120 ] || fail "a read has waited for $waited seconds"
expect_ok grep -q "Input/output error" "$CASE_TMP/dd"
expect_eio read_two
close_image two
no_scopes "close after the scopes were killed"

# What a shutdown does: file systems are unmounted, and units end. A writable device that is mounted
# needs its fetchers until then.
mkimage split "$CASE_TMP/layer" --content "$ROOTFS" --layers 2 --seed 4 >/dev/null
oci_layout "$CASE_TMP/root" v1 "$CASE_TMP/layer.0" "$CASE_TMP/layer.1"
rm "$CASE_TMP"/layer.*
push_layout "$CASE_TMP/root" root 1
mkdir "$CASE_TMP/mnt"
open_root() {
	open_image root --registry "$registry/root:1" --insecure --mount "$CASE_TMP/mnt" \
		--writable "$CASE_TMP/store:8M"
}
open_root
in_scopes 2
# Written to the device when it is unmounted, which reads what was there.
dd if=/dev/urandom of="$CASE_TMP/written" bs=64k count=16 2>/dev/null
dd if="$CASE_TMP/written" of="$CASE_TMP/mnt/bin/busybox" bs=64k conv=notrunc 2>/dev/null
cat >/run/systemd/system/down.target <<-UNIT
[Unit]
DefaultDependencies=no
Requires=shutdown.target umount.target
After=shutdown.target umount.target
UNIT
undo_add rm /run/systemd/system/down.target
systemctl start down.target || note "not all units could be stopped"
! is_mounted "$CASE_TMP/mnt" || fail "systemd has not unmounted the device"
in_scopes 2
systemctl stop down.target
close_image root
no_scopes "close after the units were stopped"
open_root
expect_ok cmp -n 1048576 "$CASE_TMP/written" "$CASE_TMP/mnt/bin/busybox"
close_image root
no_scopes "close of a writable device"

# An image that is refused leaves no scope.
refuses 4 "" open image --registry "$registry/none:1" --insecure
data=$CASE_TMP/registry/docker/registry/v2/blobs/sha256
digest=$(find "$CASE_TMP/two/blobs/sha256" -size +1000k | sed 's|.*/||' | head -n 1)
truncate -s -512 "$data/$(echo "$digest" | cut -c 1-2)/$digest/data"
# shellcheck disable=SC2086
refuses 1 "bytes, should have" open two $options
no_scopes "a refused image"

registry_stop
report "$(systemctl --version | head -n 1); a read fails $waited s after its scope was killed"
