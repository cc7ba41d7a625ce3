/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What /proc says of the host. */
#ifndef NAT_BRIDGE_HOST_H
#define NAT_BRIDGE_HOST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NB_PROCESS_NAME_SIZE 64 /* the kernel keeps 15 bytes, of kernel threads more */

/* A socket, and a process that holds it. */
struct nb_holder {
	uint64_t inode;
	pid_t pid;			 /* 0: none that this user may look at */
	char name[NB_PROCESS_NAME_SIZE]; /* as one line of UTF-8 */
};

/*
 * Find the processes that hold the sockets @holders (their `inode` is given) in one walk of
 * /proc, and sort them by inode. Of several processes with one socket it is the one with the
 * lowest number, the parent of those that it serves with; but init, which keeps what it started
 * a service for, only if there is no other. Sockets of processes whose descriptors this user
 * may not read stay without one. Returns 0 or a negative errno: /proc cannot be read.
 */
int nb_holders_find(struct nb_holder *holders, size_t count);
/* The one of that inode in a sorted list, or NULL. */
const struct nb_holder *nb_holder_find(const struct nb_holder *holders, size_t count,
				       uint64_t inode);

#endif
