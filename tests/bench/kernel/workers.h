/* SPDX-License-Identifier: GPL-2.0 */
/* Threads that start work at the same time, and the time until the last has ended. */
#ifndef OVERLAYBD_BENCH_WORKERS_H
#define OVERLAYBD_BENCH_WORKERS_H

#include <linux/completion.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/sched.h>

/* A process of a host without KVM can use no more CPUs. */
#define MAX_THREADS	64

/* The first member of a module's own struct of a thread. */
struct worker {
	struct completion start, done;
	int (*work)(struct worker *worker);
	int error;
};

static int worker_thread(void *data)
{
	struct worker *worker = data;

	wait_for_completion(&worker->start);
	worker->error = worker->work(worker);
	complete(&worker->done);
	return 0;
}

/*
 * Runs `work` in `threads` threads at once, each with its own of the structs of `size` bytes at
 * `workers`. Sets `ns` to the time; it does not include that to create the threads.
 */
static int run_workers(void *workers, size_t size, unsigned int threads,
		       int (*work)(struct worker *worker), u64 *ns)
{
	unsigned int n, started;
	struct worker *worker;
	int error = 0;
	u64 start;

	for (started = 0; started < threads; started++) {
		struct task_struct *task;

		worker = workers + size * started;
		init_completion(&worker->start);
		init_completion(&worker->done);
		worker->work = work;
		task = kthread_create(worker_thread, worker, "overlaybd-bench/%u", started);
		if (IS_ERR(task)) {
			error = PTR_ERR(task);
			break;
		}
		wake_up_process(task);
	}
	start = ktime_get_ns();
	for (n = 0; n < started; n++) {
		worker = workers + size * n;
		complete(&worker->start);
	}
	for (n = 0; n < started; n++) {
		worker = workers + size * n;
		wait_for_completion(&worker->done);
		error = error ?: worker->error;
	}
	*ns = ktime_get_ns() - start;
	return error;
}

#endif
