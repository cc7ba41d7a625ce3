/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds the mapping of a key in a list that is not sorted yet. */
#ifndef NAT_BRIDGE_INDEX_H
#define NAT_BRIDGE_INDEX_H

#include "nat-bridge/mapping.h"

/* Zero-initialise; free with nb_index_clear(). */
struct nb_index {
	uint32_t *slots; /* index in the list + 1, 0 = free */
	size_t size;	 /* a power of two, at least twice the entries */
};

/* The place of @key's mapping in @list, or SIZE_MAX. */
size_t nb_index_find(const struct nb_index *index, const struct nb_mapping_list *list,
		     const struct nb_mapping *key);
/* Enter the last mapping of @list, whose key must be new. -ENOMEM on failure. */
int nb_index_push(struct nb_index *index, const struct nb_mapping_list *list);
/* Take the last mapping of @list out again, before it leaves the list. */
void nb_index_pop(struct nb_index *index, const struct nb_mapping_list *list);
void nb_index_clear(struct nb_index *index);

#endif
