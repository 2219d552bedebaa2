/* sysmem.h: how much memory there is, for the machine and for this process's control group.
 *
 * Sources: proc_meminfo(5), proc_pid_cgroup(5), proc_pid_mountinfo(5); the kernel's
 * admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. Containers have their limits there.
 */
#ifndef LLLM_BASE_SYSMEM_H
#define LLLM_BASE_SYSMEM_H

#include <stdbool.h>
#include <stdint.h>

#define SYSMEM_UNKNOWN UINT64_MAX /* not told, or no limit */

struct sysmem {
    uint64_t total_bytes;       /* of the machine */
    uint64_t available_bytes;   /* of it, what is to be had without swapping (MemAvailable) */
    uint64_t group_limit_bytes; /* of the control group that leaves least: its limit */
    uint64_t group_free_bytes;  /* and what it leaves, cached files counted as free */
};

/* What the system does not tell is SYSMEM_UNKNOWN. root: "" for the system's own /proc and /sys; a
 * folder that stands for / in tests. */
void sysmem_read(const char *root, struct sysmem *m);
/* What can be taken now: the less of the machine's and the group's. */
uint64_t sysmem_free(const struct sysmem *m);

#endif
