#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Reads of a lower device are charged to the cgroup of the task that reads the target, and its
# limits apply, as with dm-linear: when the task maps its bios itself, when the block layer's
# throttling maps them, and when a worker does after a suspension. The memory of an index is charged
# to the cgroup of the task that loads the table.
#
# timeout: 240
# only: stock
. /overlaybd/tests/vm/lib.sh

root=/sys/fs/cgroup
group=$root/reader
mount -t cgroup2 none $root
undo_add "umount $root"
echo "+io +memory" >$root/cgroup.subtree_control
mkdir $group
undo_add "rmdir $group"

# in_group COMMAND...: runs it in the group.
in_group() {
	(
		echo 0 >$group/cgroup.procs
		exec "$@"
	)
}

# Bytes that a disk has read: in all, and charged to the group.
read_of() {
	awk '{ print $3 * 512 }' "/sys/block/${1##*/}/stat"
}
charged_of() {
	awk -v dev="$(cat "/sys/block/${1##*/}/dev")" '
		$1 == dev { for (i = 2; i <= NF; i++) if (sub(/^rbytes=/, "", $i)) bytes = $i }
		END { print bytes + 0 }' $group/io.stat
}

# charged COMMAND...: all that the disk reads for the command must be charged to the group.
charged() {
	ch_read=$(read_of $disk)
	ch_charged=$(charged_of $disk)
	"$@"
	ch_read=$(($(read_of $disk) - ch_read))
	ch_charged=$(($(charged_of $disk) - ch_charged))
	note "the disk read $ch_read bytes for '$*'"
	[ $ch_read -gt 0 ] || fail "the disk read nothing for '$*'"
	expect_eq "what the group is charged for '$*'" $ch_charged $ch_read
}

# The task maps its bios itself.
by_the_reader() {
	in_group dd if="/dev/mapper/$1" of=/dev/null bs=64k iflag=direct status=none
}

# The device has a limit: a worker of the block layer maps the bios that it holds back.
by_throttling() {
	bt_dev=$(dmsetup info -c --noheadings -o major,minor --separator : "$1")
	echo "$bt_dev rbps=4194304" >$group/io.max
	by_the_reader "$1"
	echo "$bt_dev rbps=max" >$group/io.max
}

# A worker of device-mapper maps the bios that a suspended device has queued.
by_a_worker() {
	dmsetup suspend --nolockfs "$1"
	{
		echo 0 >$group/cgroup.procs
		exec dd if="/dev/mapper/$1" of=/dev/null bs=64k count=4 iflag=direct status=none
	} &
	bw_reader=$!
	# The read waits, and no signal can end it.
	eventually 20 grep -q '^State:.*D' /proc/$bw_reader/status
	dmsetup resume "$1"
	wait $bw_reader
}

# uptime: hundredths of a second.
uptime() {
	sed 's/^\([0-9]*\)\.\([0-9]*\) .*/\1\2/' /proc/uptime
}

# limited DEVICE: a limit of the disk, 128 KiB a second, must hold for the group's reads through the
# device.
limited() {
	echo "$(cat /sys/block/${disk##*/}/dev) rbps=131072" >$group/io.max
	for way in by_the_reader by_a_worker; do
		li_read=$(read_of $disk)
		li_start=$(uptime)
		$way "$1"
		li_took=$(($(uptime) - li_start))
		li_read=$(($(read_of $disk) - li_read))
		note "$1 $way: $li_read bytes of the disk in $li_took hundredths of a second"
		# The throttling may let half a second's bytes pass at once.
		[ $((li_took * 131072 / 100)) -ge $((li_read - 131072 / 2)) ] ||
			fail "$li_read bytes took $li_took hundredths of a second for '$1 $way'"
	done
	echo "$(cat /sys/block/${disk##*/}/dev) rbps=max" >$group/io.max
}

bytes=524288
mkimage zfile "$CASE_TMP/zf" --bytes $bytes
disk=/dev/vdb
dd if="$CASE_TMP/zf" of=$disk bs=1M conv=fsync status=none
dd if="$CASE_TMP/zf.content" of=$disk bs=1M seek=1 conv=fsync status=none
dm_create z "0 $((bytes / 512)) zfile_target $disk $(stat -c %s "$CASE_TMP/zf")" -r
dm_create l "0 $((bytes / 512)) linear $disk 2048" -r
for way in by_the_reader by_throttling by_a_worker; do
	charged $way l
	charged $way z
done
limited l
limited z

note "the memory of an index"
charged_memory() {
	cat $group/memory.current
}
# A kernel charges a group 64 pages at a time for each of its CPUs, and may have done so before.
# With large pages that is as much as an index.
ahead=0
extents=200000
if [ "$(page_bytes)" -gt 4096 ]; then
	ahead=$((64 * $(page_bytes) * $(grep -c '^processor' /proc/cpuinfo)))
	[ $((extents * 16)) -ge $((ahead + ahead / 2)) ] || extents=$(((ahead + ahead / 2) / 16))
fi
index=$((extents * 16))
mkimage layer "$CASE_TMP/layer" --extents $extents
loop_of "$CASE_TMP/layer"
table="0 8 lsmt_target $loop $(stat -c %s "$CASE_TMP/layer")"
# The memory of the program itself is charged once, here.
in_group dmsetup version >/dev/null
before=$(charged_memory)
undo_add "dmsetup remove indexed"
in_group dmsetup create indexed -r --table "$table"
after=$(charged_memory)
note "$before bytes before, $after with an index of $index"
[ $((after - before)) -ge $((index - ahead)) ] ||
	fail "the group is charged $((after - before)) bytes for an index of $index"
dm_remove indexed
