// SPDX-License-Identifier: GPL-2.0
/*
 * Function bodies for static inlines and macros of the kernel's headers, one
 * call each; see helpers.h. What each may be called with is the wrapped
 * function's own contract.
 */
#include "helpers.h"

#include <linux/blkdev.h>
#include <linux/cpumask.h>
#include <linux/crc32.h>
#include <linux/jiffies.h>
#include <linux/kasan.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/zstd.h>

#define DM_MSG_PREFIX "overlaybd"

#ifdef CONFIG_HIGHMEM
#error "dm-overlaybd reaches the pages of a bio through the direct map"
#endif

bool dm_overlaybd_bio_is_read(const struct bio *bio)
{
	return bio_op(bio) == REQ_OP_READ;
}

/*
 * The hints of the upper bio that are as true of the read made on its behalf.
 * REQ_RAHEAD is not: it lets the device fail a read that it would otherwise try
 * again, and others, who did not read ahead, may wait for what is read.
 */
blk_opf_t dm_overlaybd_lower_read_opf(const struct bio *upper)
{
	return REQ_OP_READ | (upper->bi_opf & (REQ_SYNC | REQ_META | REQ_PRIO |
					       REQ_IDLE));
}

void dm_overlaybd_bio_set_dev(struct bio *bio, struct block_device *bdev)
{
	bio_set_dev(bio, bdev);
}

void *dm_overlaybd_bio_segment(const struct bio *bio,
			       const struct bvec_iter *iter, unsigned int *len)
{
	struct bio_vec bv = mp_bvec_iter_bvec(bio->bi_io_vec, *iter);

	*len = bv.bv_len;
	/* The tag, if there is one, is the first page's; a segment may have more. */
	return kasan_reset_tag(bvec_virt(&bv));
}

void dm_overlaybd_bio_advance_iter(const struct bio *bio,
				   struct bvec_iter *iter, unsigned int bytes)
{
	bio_advance_iter(bio, iter, bytes);
}

void dm_overlaybd_zero_fill_bio(struct bio *bio)
{
	zero_fill_bio(bio);
}

sector_t dm_overlaybd_target_offset(const struct dm_target *ti, sector_t sector)
{
	return dm_target_offset(ti, sector);
}

u64 dm_overlaybd_bdev_bytes(struct block_device *bdev)
{
	return bdev_nr_bytes(bdev);
}

unsigned int dm_overlaybd_bdev_lbs(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

bool dm_overlaybd_killed(void)
{
	return fatal_signal_pending(current);
}

/*
 * For attempts that have something to fall back on: neither waits, nor dips
 * into the reserves, nor warns.
 */
void *dm_overlaybd_kmalloc_nowait(size_t bytes)
{
	return kmalloc(bytes, GFP_NOWAIT | __GFP_NOWARN | __GFP_NORETRY |
			      __GFP_NOMEMALLOC);
}

void dm_overlaybd_kfree(void *p)
{
	kfree(p);
}

/*
 * For sizes that an image chooses: tries hard, but kills no process, and does not
 * warn. Charged to the cgroup of the task that runs.
 */
void *dm_overlaybd_kvmalloc(size_t bytes)
{
	return kvmalloc(bytes, GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL |
			       __GFP_NOWARN);
}

u64 dm_overlaybd_total_memory(void)
{
	return (u64)totalram_pages() << PAGE_SHIFT;
}

void dm_overlaybd_kvfree(void *p)
{
	kvfree(p);
}

mempool_t *dm_overlaybd_mempool_create(int min_nr, size_t bytes)
{
	return mempool_create_kmalloc_pool(min_nr, bytes);
}

void *dm_overlaybd_mempool_alloc(mempool_t *pool)
{
	return mempool_alloc(pool, GFP_NOIO);
}

struct workqueue_struct *dm_overlaybd_workqueue_create(void)
{
	return alloc_workqueue("dm-overlaybd",
			       WQ_MEM_RECLAIM | WQ_HIGHPRI | WQ_UNBOUND |
				       WQ_SYSFS, 0);
}

void dm_overlaybd_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

bool dm_overlaybd_queue_work(struct workqueue_struct *wq,
			     struct work_struct *work)
{
	return queue_work(wq, work);
}

unsigned int dm_overlaybd_this_cpu(void)
{
	return raw_smp_processor_id();
}

unsigned int dm_overlaybd_next_cpu(unsigned int cpu)
{
	return cpumask_next_wrap(cpu, cpu_online_mask);
}

unsigned long dm_overlaybd_jiffies(void)
{
	return jiffies;
}

/*
 * How much of what the running task is submitting has not been looked at yet: the
 * first of the bios that wait for the present one to be dealt with, which is what
 * is left of a bio that was split.
 */
unsigned int dm_overlaybd_waiting_bytes(void)
{
	const struct bio_list *lists = current->bio_list;
	const struct bio *bio;

	if (!in_task() || !lists)
		return 0;
	bio = lists[0].head ?: lists[1].head;
	return bio ? bio->bi_iter.bi_size : 0;
}

void dm_overlaybd_spin_lock_init(spinlock_t *lock)
{
	spin_lock_init(lock);
}

unsigned long dm_overlaybd_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

void dm_overlaybd_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

bool dm_overlaybd_on_task_stack(void)
{
	return object_is_on_stack(__builtin_frame_address(0));
}

bool dm_overlaybd_half_of_stack_left(void)
{
	return __builtin_frame_address(0) - task_stack_page(current) >
	       THREAD_SIZE / 2;
}

/* How many levels of completions stand on the interrupts' stack of a CPU. */
static DEFINE_PER_CPU(int, dm_overlaybd_nesting);

int dm_overlaybd_nesting_add(int levels)
{
	return this_cpu_add_return(dm_overlaybd_nesting, levels);
}

/*
 * Whether a few microseconds of work that never sleeps may be done in this
 * context: wherever interrupts can come in.
 */
bool dm_overlaybd_may_work_here(void)
{
	return !in_hardirq() && !irqs_disabled();
}

/*
 * The task that is about to wait for a bio. Of what is read ahead there is
 * none: it has better things to do.
 */
const void *dm_overlaybd_reader(const struct bio *bio)
{
	return bio->bi_opf & REQ_RAHEAD ? NULL : current;
}

/* Whether that task runs, and may work for long. */
bool dm_overlaybd_is_task(const void *task)
{
	return in_task() && !irqs_disabled() && task == current;
}

void dm_overlaybd_flush_workqueue(struct workqueue_struct *wq)
{
	flush_workqueue(wq);
}

u32 dm_overlaybd_crc32c(u32 seed, const void *bytes, size_t len)
{
	return crc32c(seed, bytes, len);
}

#if IS_REACHABLE(CONFIG_ZSTD_DECOMPRESS)
size_t dm_overlaybd_zstd_workspace_bound(void)
{
	return zstd_dctx_workspace_bound();
}

void *dm_overlaybd_zstd_init(void *workspace, size_t bytes)
{
	return zstd_init_dctx(workspace, bytes);
}

size_t dm_overlaybd_zstd_decompress(void *context, void *out, size_t room,
				    const void *frame, size_t len)
{
	return zstd_decompress_dctx(context, out, room, frame, len);
}

bool dm_overlaybd_zstd_is_error(size_t code)
{
	return zstd_is_error(code);
}
#else
size_t dm_overlaybd_zstd_workspace_bound(void)
{
	return 0;
}

void *dm_overlaybd_zstd_init(void *workspace, size_t bytes)
{
	return NULL;
}

size_t dm_overlaybd_zstd_decompress(void *context, void *out, size_t room,
				    const void *frame, size_t len)
{
	return 0;
}

bool dm_overlaybd_zstd_is_error(size_t code)
{
	return true;
}
#endif

unsigned int dm_overlaybd_online_cpus(void)
{
	return num_online_cpus();
}

unsigned int dm_overlaybd_possible_cpus(void)
{
	return num_possible_cpus();
}

void dm_overlaybd_log_error(const char *device, const char *target,
			    const char *text, int len)
{
	DMERR("%s: %s: %.*s", device, target, len, text);
}

void dm_overlaybd_log_error_limited(const char *device, const char *target,
				    const char *text, int len)
{
	DMERR_LIMIT("%s: %s: %.*s", device, target, len, text);
}
