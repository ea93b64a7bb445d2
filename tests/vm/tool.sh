# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh disable=SC2154
#
# The functions that VM cases of overlaybdsetup share. They source lib.sh first.
#
#   layers_of STACK              sets $layers to the files of a row of stacks.tsv, named by its
#                                layers separated by commas, as options --layer, with the length
#                                each had before it was padded; $want to the sha256 of the image,
#                                $size to its size
#   all_kinds                    sets the same to an image of one layer of each kind: compressed and
#                                complete by its header, in a tar, compressed with a trailer in its
#                                last sector, not compressed
#   open_image NAME ARGS...      overlaybdsetup open; closed when the case ends
#   close_image NAME [ARGS...]   overlaybdsetup close before that
#   left                         prints the devices, loop devices, mounts and records that exist
#   nothing_left [WHEN]          there must be none
#   is_mounted DIR               whether a file system is mounted there
#   refuses STATUS TEXT ARGS...  overlaybdsetup must fail with that exit status, have TEXT in its
#                                first line, and leave what existed before, no more
#   finds TEXT ARGS...           overlaybdsetup verify must fail and print TEXT
#   value_of KEY ARGS...         prints the first value of that key in the JSON of overlaybdsetup
#   oci_layout DIR REF FILE...   writes an OCI image layout of these layer files, lowest first. Each
#                                is a blob in a tar, as in registries. Sets $manifest to the digest
#                                of its manifest

# An ext4 of 16 MiB with a journal and a static busybox, built with the guest.
ROOTFS=/overlaybd/rootfs.ext4

# A loop device without a file is no remnant: the kernel creates them on demand.
left() {
	dmsetup ls | awk '$1 != "No" { print "device " $1 }'
	losetup -n -l -O NAME,BACK-FILE | sed 's/^/loop /'
	awk '$5 ~ "^/tmp/" && $5 != "/tmp" { print "mount " $5 }' /proc/self/mountinfo
	for le_file in /run/overlaybdsetup/*.json; do
		[ ! -e "$le_file" ] || echo "record $le_file"
	done
}

nothing_left() {
	nl_left=$(left)
	[ -z "$nl_left" ] || fail "${1:-it} left: $nl_left"
}

is_mounted() {
	awk -v dir="$1" '{ gsub(/\\040/, " ", $5) } $5 == dir { found = 1 } END { exit !found }' \
		/proc/self/mountinfo
}

layers_of() {
	lo_row=$(awk -F '\t' -v s="$1" '$4 == s { print $1, $2 }' "$IMAGES/stacks.tsv")
	size=${lo_row% *}
	want=${lo_row#* }
	[ -n "$size" ] || fail "there is no stack $1"
	layers=
	for lo_layer in $(echo "$1" | tr ',' ' '); do
		original_of "$lo_layer"
		layers="$layers --layer $original"
	done
}

all_kinds() {
	layers_of lsmt/fs0_lz4_4k.zlsmt,lsmt/fs1_lz4_4k.zlsmt,lsmt/fs2_lz4_4k.zlsmt,lsmt/fs3_lz4_4k.zlsmt
	layers=
	for ak_layer in fs0_lz4_4k.zlsmt fs1_lz4_4k_tar.tar fs2_lz4_4k_nocrc.zlsmt fs3_raw.lsmt; do
		original_of lsmt/$ak_layer
		layers="$layers --layer $original"
	done
}

open_image() {
	oi_name=$1
	oi_path=$(overlaybdsetup open "$@" 2>"$CASE_TMP/said") ||
		fail "open $*: status $?: $(cat "$CASE_TMP/said")"
	expect_eq "path" "$oi_path" "/dev/mapper/$oi_name"
	undo_add "overlaybdsetup close $oi_name"
}

close_image() {
	ci_out=$(overlaybdsetup close "$@" 2>&1) || fail "close $*: status $?: $ci_out"
	undo_drop "overlaybdsetup close $1"
}

refuses() {
	rf_status=$1
	rf_text=$2
	shift 2
	rf_before=$(left)
	rf_result=0
	overlaybdsetup "$@" >"$CASE_TMP/printed" 2>"$CASE_TMP/said" || rf_result=$?
	rf_said=$(cat "$CASE_TMP/said")
	expect_eq "exit status of '$*' ($rf_said)" "$rf_result" "$rf_status"
	case $rf_said in
	"overlaybdsetup: "*"$rf_text"*) ;;
	*) fail "'$*' does not say '$rf_text': $rf_said" ;;
	esac
	expect_eq "what '$*' prints" "$(cat "$CASE_TMP/printed")" ""
	expect_eq "what '$*' leaves" "$(left)" "$rf_before"
}

finds() {
	fi_text=$1
	shift
	expect_fail overlaybdsetup verify "$@"
	case $fail_out in
	*"$fi_text"*) ;;
	*) fail "verify $* does not say '$fi_text': $fail_out" ;;
	esac
}

value_of() {
	vo_key=$1
	shift
	overlaybdsetup "$@" --json |
		sed -n "s/^ *\"$vo_key\": \\(.*[^,]\\),\\{0,1\\}\$/\\1/p" | head -n 1
}

oci_layout() {
	ol_dir=$1
	ol_ref=$2
	shift 2
	ol_blobs=$ol_dir/blobs/sha256
	mkdir -p "$ol_blobs"
	ol_layers=
	for ol_file; do
		mkdir -p "$CASE_TMP/tar"
		ln -f "$ol_file" "$CASE_TMP/tar/overlaybd.commit" 2>/dev/null ||
			cp "$ol_file" "$CASE_TMP/tar/overlaybd.commit"
		busybox tar -C "$CASE_TMP/tar" -c -f "$CASE_TMP/blob" overlaybd.commit
		rm "$CASE_TMP/tar/overlaybd.commit"
		put_blob "$CASE_TMP/blob"
		ol_layers="$ol_layers${ol_layers:+,}
			{\"mediaType\": \"application/vnd.oci.image.layer.v1.tar\",
			 \"digest\": \"sha256:$digest\", \"size\": $bytes, \"annotations\": {
			  \"containerd.io/snapshot/overlaybd/blob-digest\": \"sha256:$digest\",
			  \"containerd.io/snapshot/overlaybd/blob-size\": \"$bytes\",
			  \"containerd.io/snapshot/overlaybd/version\": \"0.1.0\"}}"
	done
	cat >"$CASE_TMP/blob" <<-JSON
	{"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
	JSON
	put_blob "$CASE_TMP/blob"
	ol_config="{\"mediaType\": \"application/vnd.oci.image.config.v1+json\",
	 \"digest\": \"sha256:$digest\", \"size\": $bytes}"
	cat >"$CASE_TMP/blob" <<-JSON
	{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
	 "config": $ol_config, "layers": [$ol_layers]}
	JSON
	put_blob "$CASE_TMP/blob"
	manifest=sha256:$digest
	printf '{"imageLayoutVersion": "1.0.0"}' >"$ol_dir/oci-layout"
	cat >"$ol_dir/index.json" <<-JSON
	{"schemaVersion": 2, "manifests": [
	 {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "$manifest",
	  "size": $bytes,
	  "annotations": {"org.opencontainers.image.ref.name": "$ol_ref"}}]}
	JSON
}

# put_blob FILE: moves a file into $ol_blobs; sets $digest, without its algorithm, and $bytes.
put_blob() {
	digest=$(sha256_of "$1")
	bytes=$(stat -c %s "$1")
	mv "$1" "$ol_blobs/$digest"
}
