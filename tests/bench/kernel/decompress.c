// SPDX-License-Identifier: GPL-2.0
/*
 * Times decompression alone, in the kernel, over the blocks of a ZFile: the project's LZ4 decoder
 * and the kernel's in turns, or the kernel's ZSTD. The figures are lines of the kernel log,
 * "overlaybd-bench: DECODER THREADS BYTES NS". It trusts the file, which tests/bench/run has just
 * written: it is not part of the product and must never be loaded for anything else.
 *
 * The module does all its work in its init function. It is in C because the kernel crate has no
 * safe form of files or threads.
 */

#include <linux/fs.h>
#include <linux/kernel_read_file.h>
#include <linux/lz4.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/unaligned.h>
#include <linux/vmalloc.h>
#include <linux/zstd.h>

#include "workers.h"

ssize_t overlaybd_bench_decode(const u8 *src, size_t src_len, u8 *dst, size_t dst_len);

static char *path;
module_param(path, charp, 0444);
MODULE_PARM_DESC(path, "A ZFile without block checksums");

static unsigned int blocks;
module_param(blocks, uint, 0444);
MODULE_PARM_DESC(blocks, "The number of its blocks");

static unsigned int block_size = 4096;
module_param(block_size, uint, 0444);
MODULE_PARM_DESC(block_size, "The bytes of content of each block, the last one too");

static bool zstd;
module_param(zstd, bool, 0444);
MODULE_PARM_DESC(zstd, "The blocks are ZSTD, not LZ4");

static unsigned int threads = 1;
module_param(threads, uint, 0444);
MODULE_PARM_DESC(threads, "The number of threads, each of which decompresses all blocks");

static unsigned int rounds = 5;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "The number of turns of each decoder");

/* The size of a ZFile's header and trailer. Between them: blocks, then their 32-bit lengths. */
#define AREA	512

static u8 *file;
static const u8 *index;

struct decoder {
	struct worker worker;
	ssize_t (*decode)(struct decoder *decoder, const u8 *src, size_t src_len);
	u8 *out;
	void *workspace;
	zstd_dctx *dctx;
};

static ssize_t decode_rust(struct decoder *decoder, const u8 *src, size_t src_len)
{
	return overlaybd_bench_decode(src, src_len, decoder->out, block_size);
}

static ssize_t decode_c(struct decoder *decoder, const u8 *src, size_t src_len)
{
	return LZ4_decompress_safe(src, decoder->out, src_len, block_size);
}

static ssize_t decode_zstd(struct decoder *decoder, const u8 *src, size_t src_len)
{
	size_t n = zstd_decompress_dctx(decoder->dctx, decoder->out, block_size, src, src_len);

	return zstd_is_error(n) ? -1 : n;
}

static int decode_all(struct worker *worker)
{
	struct decoder *decoder = container_of(worker, struct decoder, worker);
	const u8 *src = file + AREA;
	unsigned int n;

	for (n = 0; n < blocks; n++) {
		u32 len = get_unaligned_le32(index + 4 * n);

		if (decoder->decode(decoder, src, len) != block_size)
			return -EBADMSG;
		src += len;
		cond_resched();
	}
	return 0;
}

/* One turn: all threads decompress all blocks at once. */
static int turn(const char *name, struct decoder *decoders,
		ssize_t (*decode)(struct decoder *, const u8 *, size_t))
{
	unsigned int n;
	int error;
	u64 ns;

	for (n = 0; n < threads; n++)
		decoders[n].decode = decode;
	error = run_workers(decoders, sizeof(*decoders), threads, decode_all, &ns);
	if (!error)
		pr_info("overlaybd-bench: %s %u %llu %llu\n", name, threads,
			(u64)threads * blocks * block_size, ns);
	return error;
}

static int run(struct decoder *decoders)
{
	unsigned int round;
	int error = 0;

	for (round = 0; round < rounds && !error; round++) {
		if (zstd) {
			error = turn("zstd", decoders, decode_zstd);
		} else {
			error = turn("ours", decoders, decode_rust);
			if (!error)
				error = turn("kernel", decoders, decode_c);
		}
	}
	return error;
}

static int __init bench_init(void)
{
	struct decoder *decoders;
	void *data = NULL;
	ssize_t len;
	unsigned int n;
	int error;

	if (!path || !blocks || !threads || threads > MAX_THREADS)
		return -EINVAL;
	len = kernel_read_file_from_path(path, 0, &data, INT_MAX, NULL, READING_UNKNOWN);
	if (len < 0)
		return len;
	file = data;
	error = -EINVAL;
	if (len < 2 * AREA + 4ull * blocks)
		goto free_file;
	index = file + len - AREA - 4ull * blocks;

	error = -ENOMEM;
	decoders = kcalloc(threads, sizeof(*decoders), GFP_KERNEL);
	if (!decoders)
		goto free_file;
	for (n = 0; n < threads; n++) {
		size_t size = zstd_dctx_workspace_bound();

		decoders[n].out = kvmalloc(block_size, GFP_KERNEL);
		decoders[n].workspace = vmalloc(size);
		if (!decoders[n].out || !decoders[n].workspace)
			goto free_decoders;
		decoders[n].dctx = zstd_init_dctx(decoders[n].workspace, size);
	}
	error = run(decoders);

free_decoders:
	for (n = 0; n < threads; n++) {
		kvfree(decoders[n].out);
		vfree(decoders[n].workspace);
	}
	kfree(decoders);
free_file:
	vfree(file);
	return error;
}

static void __exit bench_exit(void)
{
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_DESCRIPTION("Times the decompressors that dm-overlaybd could use");
MODULE_LICENSE("GPL");
