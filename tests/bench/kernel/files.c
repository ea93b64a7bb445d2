// SPDX-License-Identifier: GPL-2.0
/*
 * Reads files as read(2) does, through the page cache and its readahead, but from within the kernel
 * and into nowhere: no byte is copied, and no system call is paid for, which in User-mode Linux
 * costs more than reading a small file does. What is left is the file system's work and that of
 * what is below it. The figure is a line of the kernel log, "overlaybd-bench: BYTES READS NS".
 *
 * All is done while the module is loaded. It is no part of the product.
 */

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/fadvise.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/kernel_read_file.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/path.h>
#include <linux/prandom.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>

static char *list;
module_param(list, charp, 0444);
MODULE_PARM_DESC(list, "A file with the absolute path of a file to read in each line");

static unsigned int threads = 1;
module_param(threads, uint, 0444);
MODULE_PARM_DESC(threads, "How many threads read");

static unsigned int reads;
module_param(reads, uint, 0444);
MODULE_PARM_DESC(reads, "Make so many reads of 4 KiB at random places; 0 reads every file whole, in order");

static unsigned int seed = 1;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "Of the random places");

#define MAX_THREADS	64
#define PIECE		(1 << 20)
#define RANDOM_PIECE	4096

struct target {
	const char *path;
	/* For random reads: the file, open, and the number of places up to its end. */
	struct file *file;
	u64 places;
};

struct worker {
	struct completion start, done;
	struct rnd_state random;
	u64 bytes, reads;
	int error;
};

static struct target *targets;
static unsigned int count;

/* The root of whoever loads the module: kernel threads need not see the same files. */
static struct path root;

static struct file *open(const char *path)
{
	return file_open_root(&root, path, O_RDONLY | O_LARGEFILE, 0);
}

static atomic_t next;

/* Up to `len` bytes of the file from `*at` on, which are then in the page cache. */
static ssize_t read_piece(struct file *file, loff_t *at, size_t len)
{
	struct iov_iter nowhere;

	iov_iter_discard(&nowhere, ITER_DEST, len);
	return vfs_iter_read(file, &nowhere, at, 0);
}

static int read_whole(struct worker *worker, const char *path)
{
	struct file *file = open(path);
	loff_t at = 0;
	ssize_t n;

	if (IS_ERR(file))
		return PTR_ERR(file);
	while ((n = read_piece(file, &at, PIECE)) > 0) {
		worker->bytes += n;
		worker->reads++;
		cond_resched();
	}
	filp_close(file, NULL);
	return n;
}

static int read_some(struct worker *worker)
{
	u64 all = targets[count - 1].places, place;
	unsigned int n, low, high;

	for (n = 0; n < reads / threads; n++) {
		ssize_t done;
		loff_t at;

		place = (((u64)prandom_u32_state(&worker->random) << 32) |
			 prandom_u32_state(&worker->random)) % all;
		for (low = 0, high = count - 1; low < high;) {
			unsigned int middle = low + (high - low) / 2;

			if (targets[middle].places <= place)
				low = middle + 1;
			else
				high = middle;
		}
		at = (place - (low ? targets[low - 1].places : 0)) * RANDOM_PIECE;
		done = read_piece(targets[low].file, &at, RANDOM_PIECE);
		if (done != RANDOM_PIECE)
			return done < 0 ? done : -ENODATA;
		worker->bytes += done;
		worker->reads++;
		cond_resched();
	}
	return 0;
}

static int worker_thread(void *data)
{
	struct worker *worker = data;
	unsigned int n;

	wait_for_completion(&worker->start);
	if (reads) {
		worker->error = read_some(worker);
	} else {
		/* Whoever is free takes the next. */
		while (!worker->error && (n = atomic_fetch_inc(&next)) < count)
			worker->error = read_whole(worker, targets[n].path);
	}
	complete(&worker->done);
	return 0;
}

static int run(struct worker *workers)
{
	u64 start, bytes = 0, done = 0;
	unsigned int n, made;
	int error = 0;

	for (made = 0; made < threads; made++) {
		struct worker *worker = &workers[made];
		struct task_struct *task;

		init_completion(&worker->start);
		init_completion(&worker->done);
		prandom_seed_state(&worker->random, seed * 1000ull + made);
		task = kthread_create(worker_thread, worker, "overlaybd-bench/%u", made);
		if (IS_ERR(task)) {
			error = PTR_ERR(task);
			break;
		}
		wake_up_process(task);
	}
	/* Files are closed by work that kernel threads leave to others: not part of the time. */
	start = ktime_get_ns();
	for (n = 0; n < made; n++)
		complete(&workers[n].start);
	for (n = 0; n < made; n++) {
		wait_for_completion(&workers[n].done);
		error = error ?: workers[n].error;
		bytes += workers[n].bytes;
		done += workers[n].reads;
	}
	if (!error)
		pr_info("overlaybd-bench: %llu %llu %llu\n", bytes, done, ktime_get_ns() - start);
	return error;
}

/* One target for each line, in order; for random reads they are opened, and small ones left out. */
static int parse(char *text)
{
	unsigned int lines = 0;
	u64 places = 0;
	char *at, *line;

	for (at = text; *at; at++)
		lines += *at == '\n';
	targets = kvcalloc(lines + 1, sizeof(*targets), GFP_KERNEL);
	if (!targets)
		return -ENOMEM;
	while ((line = strsep(&text, "\n"))) {
		struct target *target = &targets[count];
		struct file *file;

		if (!*line)
			continue;
		target->path = line;
		if (reads) {
			file = open(line);
			if (IS_ERR(file))
				return PTR_ERR(file);
			target->file = file;
			vfs_fadvise(file, 0, 0, POSIX_FADV_RANDOM);
			places += i_size_read(file_inode(file)) / RANDOM_PIECE;
			target->places = places;
		}
		count++;
	}
	return count && (places || !reads) ? 0 : -EINVAL;
}

static int __init reading_init(void)
{
	struct worker *workers;
	void *data = NULL;
	char *text = NULL;
	unsigned int n;
	ssize_t len;
	int error;

	if (!list || !threads || threads > MAX_THREADS)
		return -EINVAL;
	len = kernel_read_file_from_path(list, 0, &data, INT_MAX, NULL, READING_UNKNOWN);
	if (len < 0)
		return len;
	error = -ENOMEM;
	workers = kcalloc(threads, sizeof(*workers), GFP_KERNEL);
	text = kvmalloc(len + 1, GFP_KERNEL);
	if (workers && text) {
		memcpy(text, data, len);
		text[len] = '\0';
		get_fs_root(current->fs, &root);
		error = parse(text) ?: run(workers);
	}
	for (n = 0; n < count; n++)
		if (targets[n].file)
			filp_close(targets[n].file, NULL);
	path_put(&root);
	kvfree(targets);
	kvfree(text);
	kfree(workers);
	vfree(data);
	return error;
}

static void __exit reading_exit(void)
{
}

module_init(reading_init);
module_exit(reading_exit);
MODULE_DESCRIPTION("Reads files into nowhere");
MODULE_LICENSE("GPL");
