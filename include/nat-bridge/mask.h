/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Texts that leave the host: names that were given by its people, addresses that others can
 * reach, and what looks like a secret, are replaced, the same by the same.
 */
#ifndef NAT_BRIDGE_MASK_H
#define NAT_BRIDGE_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A name, and what stands for it. */
struct nb_masked_name {
	char *name;
	char mask[48]; /* "network-2" */
};

/* Zero-initialise; free with nb_mask_clear(). */
struct nb_mask {
	struct nb_masked_name *names;
	size_t count;
	bool no_memory;
};

/*
 * Let "@kind-1", "@kind-2", ... stand for @name wherever it is a word of its own. A name that is
 * known is not taken again; neither are those that every host has, such as docker0.
 */
void nb_mask_add(struct nb_mask *mask, const char *kind, const char *name);
/*
 * A copy of @text with masks in it: also of public addresses of IPv4 and IPv6, MAC addresses, home
 * directories, and of what follows words like password= or token:. NULL: out of memory, also
 * of an earlier nb_mask_add().
 */
char *nb_mask_text(struct nb_mask *mask, const char *text);
void nb_mask_clear(struct nb_mask *mask);

/* Is the address (host byte order) of a network that nobody reaches from elsewhere, or of documentation? */
bool nb_mask_is_private(uint32_t address);

#endif
