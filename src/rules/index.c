/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "index.h"

#include <errno.h>
#include <stdlib.h>

static size_t hash(const struct nb_mapping *mapping)
{
	uint64_t value = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (const char *c = mapping->network.name; *c; c++)
		value = (value ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
	value ^= (uint64_t)mapping->network.engine << 24 | (uint64_t)mapping->protocol << 16 |
		 mapping->port;
	value *= UINT64_C(0x9e3779b97f4a7c15);
	return (size_t)(value >> 24);
}

/* The slot that holds the key, or the free one where it belongs. */
static uint32_t *probe(const struct nb_index *index, const struct nb_mapping_list *list,
		       const struct nb_mapping *key)
{
	size_t mask = index->size - 1;

	for (size_t i = hash(key) & mask;; i = (i + 1) & mask) {
		uint32_t *slot = &index->slots[i];

		if (!*slot || !nb_mapping_compare_key(&list->items[*slot - 1], key))
			return slot;
	}
}

size_t nb_index_find(const struct nb_index *index, const struct nb_mapping_list *list,
		     const struct nb_mapping *key)
{
	const uint32_t *slot = index->size ? probe(index, list, key) : NULL;

	return slot && *slot ? *slot - 1 : SIZE_MAX;
}

int nb_index_push(struct nb_index *index, const struct nb_mapping_list *list)
{
	if (list->count > UINT32_MAX)
		return -ENOMEM;
	if (2 * list->count > index->size) {
		struct nb_index bigger = { .size = index->size ? 2 * index->size : 64 };

		bigger.slots = calloc(bigger.size, sizeof(*bigger.slots));
		if (!bigger.slots)
			return -ENOMEM;
		/* In the order of the list, so that the last entered can always be popped. */
		for (size_t i = 0; i + 1 < list->count; i++)
			*probe(&bigger, list, &list->items[i]) = (uint32_t)i + 1;
		free(index->slots);
		*index = bigger;
	}
	*probe(index, list, &list->items[list->count - 1]) = (uint32_t)list->count;
	return 0;
}

/* No later entry can have been probed past the last one's slot. */
void nb_index_pop(struct nb_index *index, const struct nb_mapping_list *list)
{
	*probe(index, list, &list->items[list->count - 1]) = 0;
}

void nb_index_clear(struct nb_index *index)
{
	free(index->slots);
	*index = (struct nb_index){ 0 };
}
