// SPDX-License-Identifier: GPL-2.0
/*
 * Times decompression alone, in the kernel, over the blocks of a ZFile: the project's LZ4 decoder
 * and the kernel's own by turns, or the kernel's ZSTD. The figures are lines of the kernel log,
 * "overlaybd-bench: WHO THREADS BYTES NS". It trusts the file, which tests/bench/run has just made:
 * it is no part of the product and must never be loaded for anything else.
 *
 * All is done while the module is loaded. Files and threads are why this is C: the kernel crate has
 * no safe form of either.
 */

#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/kernel_read_file.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/lz4.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/unaligned.h>
#include <linux/vmalloc.h>
#include <linux/zstd.h>

ssize_t overlaybd_bench_decode(const u8 *src, size_t src_len, u8 *dst, size_t dst_len);

static char *path;
module_param(path, charp, 0444);
MODULE_PARM_DESC(path, "A ZFile without block checksums");

static unsigned int blocks;
module_param(blocks, uint, 0444);
MODULE_PARM_DESC(blocks, "How many blocks it has");

static unsigned int block_size = 4096;
module_param(block_size, uint, 0444);
MODULE_PARM_DESC(block_size, "How much content a block has, the last one too");

static bool zstd;
module_param(zstd, bool, 0444);
MODULE_PARM_DESC(zstd, "The blocks are ZSTD, not LZ4");

static unsigned int threads = 1;
module_param(threads, uint, 0444);
MODULE_PARM_DESC(threads, "How many threads decompress, all of them everything");

static unsigned int rounds = 5;
module_param(rounds, uint, 0444);
MODULE_PARM_DESC(rounds, "How often everyone has a turn");

/* Header and trailer of a ZFile, between which are the blocks and then 32-bit lengths of them. */
#define AREA	512

/* The most threads: what one process of a machine without KVM can have CPUs for. */
#define MAX_THREADS	64

static u8 *file;
static const u8 *index;

struct worker {
	struct completion start, done;
	ssize_t (*decode)(struct worker *worker, const u8 *src, size_t src_len);
	u8 *out;
	void *workspace;
	zstd_dctx *dctx;
	int error;
};

static ssize_t decode_rust(struct worker *worker, const u8 *src, size_t src_len)
{
	return overlaybd_bench_decode(src, src_len, worker->out, block_size);
}

static ssize_t decode_c(struct worker *worker, const u8 *src, size_t src_len)
{
	return LZ4_decompress_safe(src, worker->out, src_len, block_size);
}

static ssize_t decode_zstd(struct worker *worker, const u8 *src, size_t src_len)
{
	size_t n = zstd_decompress_dctx(worker->dctx, worker->out, block_size, src, src_len);

	return zstd_is_error(n) ? -1 : n;
}

static void work(struct worker *worker)
{
	const u8 *src = file + AREA;
	unsigned int n;

	for (n = 0; n < blocks; n++) {
		u32 len = get_unaligned_le32(index + 4 * n);

		if (worker->decode(worker, src, len) != block_size) {
			worker->error = -EBADMSG;
			return;
		}
		src += len;
		cond_resched();
	}
}

static int worker_thread(void *data)
{
	struct worker *worker = data;

	wait_for_completion(&worker->start);
	work(worker);
	complete(&worker->done);
	return 0;
}

/* One turn: everything by all threads at once. */
static int turn(const char *who, struct worker *workers,
		ssize_t (*decode)(struct worker *, const u8 *, size_t))
{
	unsigned int n, made;
	int error = 0;
	u64 start;

	for (made = 0; made < threads; made++) {
		struct worker *worker = &workers[made];
		struct task_struct *task;

		init_completion(&worker->start);
		init_completion(&worker->done);
		worker->decode = decode;
		worker->error = 0;
		task = kthread_create(worker_thread, worker, "overlaybd-bench/%u", made);
		if (IS_ERR(task)) {
			error = PTR_ERR(task);
			break;
		}
		wake_up_process(task);
	}
	start = ktime_get_ns();
	for (n = 0; n < made; n++)
		complete(&workers[n].start);
	for (n = 0; n < made; n++) {
		wait_for_completion(&workers[n].done);
		error = error ?: workers[n].error;
	}
	if (!error)
		pr_info("overlaybd-bench: %s %u %llu %llu\n", who, threads,
			(u64)threads * blocks * block_size, ktime_get_ns() - start);
	return error;
}

static int run(struct worker *workers)
{
	unsigned int round;
	int error = 0;

	for (round = 0; round < rounds && !error; round++) {
		if (zstd) {
			error = turn("zstd", workers, decode_zstd);
		} else {
			error = turn("ours", workers, decode_rust);
			if (!error)
				error = turn("kernel", workers, decode_c);
		}
	}
	return error;
}

static int __init bench_init(void)
{
	struct worker *workers;
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
	workers = kcalloc(threads, sizeof(*workers), GFP_KERNEL);
	if (!workers)
		goto free_file;
	for (n = 0; n < threads; n++) {
		size_t size = zstd_dctx_workspace_bound();

		workers[n].out = kvmalloc(block_size, GFP_KERNEL);
		workers[n].workspace = vmalloc(size);
		if (!workers[n].out || !workers[n].workspace)
			goto free_workers;
		workers[n].dctx = zstd_init_dctx(workers[n].workspace, size);
	}
	error = run(workers);

free_workers:
	for (n = 0; n < threads; n++) {
		kvfree(workers[n].out);
		vfree(workers[n].workspace);
	}
	kfree(workers);
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
