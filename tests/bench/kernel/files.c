// SPDX-License-Identifier: GPL-2.0
/*
 * Reads files as read(2) does, through the page cache and its readahead, but in the kernel, and
 * discards the data. It copies no byte and makes no system call, which in User-mode Linux costs
 * more than the read of a small file. The time is that of the file system and the devices below
 * it. The figure is a line of the kernel log, "overlaybd-bench: BYTES READS NS".
 *
 * The module does all its work in its init function. It is not part of the product.
 */

#include <linux/atomic.h>
#include <linux/fadvise.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/kernel_read_file.h>
#include <linux/module.h>
#include <linux/path.h>
#include <linux/prandom.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uio.h>
#include <linux/vmalloc.h>

#include "workers.h"

static char *list;
module_param(list, charp, 0444);
MODULE_PARM_DESC(list, "A file whose lines are the absolute paths of the files to read");

static unsigned int threads = 1;
module_param(threads, uint, 0444);
MODULE_PARM_DESC(threads, "The number of threads that read");

static unsigned int reads;
module_param(reads, uint, 0444);
MODULE_PARM_DESC(reads, "The number of random reads of 4 KiB; 0 reads all files whole, in order");

static unsigned int seed = 1;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "The seed of the random places");

#define PIECE		(1 << 20)
#define RANDOM_PIECE	4096

struct target {
	const char *path;
	/* For random reads: the open file, and the number of places in it and all files before. */
	struct file *file;
	u64 places;
};

struct reader {
	struct worker worker;
	struct rnd_state random;
	u64 bytes, reads;
};

static struct target *targets;
static unsigned int count;

/* The root of the task that loads the module: that of kernel threads may be another. */
static struct path root;

static struct file *open(const char *path)
{
	return file_open_root(&root, path, O_RDONLY | O_LARGEFILE, 0);
}

static atomic_t next;

/* Reads up to `len` bytes of the file from `*at` on into the page cache. */
static ssize_t read_piece(struct file *file, loff_t *at, size_t len)
{
	struct iov_iter nowhere;

	iov_iter_discard(&nowhere, ITER_DEST, len);
	return vfs_iter_read(file, &nowhere, at, 0);
}

static int read_whole(struct reader *reader, const char *path)
{
	struct file *file = open(path);
	loff_t at = 0;
	ssize_t n;

	if (IS_ERR(file))
		return PTR_ERR(file);
	while ((n = read_piece(file, &at, PIECE)) > 0) {
		reader->bytes += n;
		reader->reads++;
		cond_resched();
	}
	filp_close(file, NULL);
	return n;
}

static int read_some(struct reader *reader)
{
	u64 all = targets[count - 1].places, place;
	unsigned int n, low, high;

	for (n = 0; n < reads / threads; n++) {
		ssize_t done;
		loff_t at;

		place = (((u64)prandom_u32_state(&reader->random) << 32) |
			 prandom_u32_state(&reader->random)) % all;
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
		reader->bytes += done;
		reader->reads++;
		cond_resched();
	}
	return 0;
}

static int read_files(struct worker *worker)
{
	struct reader *reader = container_of(worker, struct reader, worker);
	unsigned int n;
	int error = 0;

	if (reads)
		return read_some(reader);
	/* Each thread takes the next file until none is left. */
	while (!error && (n = atomic_fetch_inc(&next)) < count)
		error = read_whole(reader, targets[n].path);
	return error;
}

static int run(struct reader *readers)
{
	u64 ns, bytes = 0, done = 0;
	unsigned int n;
	int error;

	for (n = 0; n < threads; n++)
		prandom_seed_state(&readers[n].random, seed * 1000ull + n);
	/* The time does not include the final fput(), which kernel threads leave to a work item. */
	error = run_workers(readers, sizeof(*readers), threads, read_files, &ns);
	for (n = 0; n < threads; n++) {
		bytes += readers[n].bytes;
		done += readers[n].reads;
	}
	if (!error)
		pr_info("overlaybd-bench: %llu %llu %llu\n", bytes, done, ns);
	return error;
}

/*
 * Creates a target for each line, in order. For random reads it opens the files; one of less than
 * RANDOM_PIECE bytes has no place and is not read.
 */
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
	struct reader *readers;
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
	readers = kcalloc(threads, sizeof(*readers), GFP_KERNEL);
	text = kvmalloc(len + 1, GFP_KERNEL);
	if (readers && text) {
		memcpy(text, data, len);
		text[len] = '\0';
		get_fs_root(current->fs, &root);
		error = parse(text) ?: run(readers);
	}
	for (n = 0; n < count; n++)
		if (targets[n].file)
			filp_close(targets[n].file, NULL);
	path_put(&root);
	kvfree(targets);
	kvfree(text);
	kfree(readers);
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
