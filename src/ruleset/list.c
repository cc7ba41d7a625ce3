/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of elements and of bridges: order, search, growth. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "nat-bridge/ruleset.h"

/* What the kernel rounds, and what a file's whole seconds lose, is no drift. */
#define EXPIRY_SLACK_MS 2000

int nb_element_list_append(struct nb_element_list *list, const struct nb_element *element)
{
	struct nb_element *slot;

	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 16;

		slot = realloc(list->items, capacity * sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		list->items = slot;
		list->capacity = capacity;
	}
	slot = &list->items[list->count];
	*slot = *element;
	if (element->comment) {
		slot->comment = strdup(element->comment);
		if (!slot->comment)
			return -ENOMEM;
	}
	list->count++;
	return 0;
}

void nb_element_list_clear(struct nb_element_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].comment);
	free(list->items);
	memset(list, 0, sizeof(*list));
}

int nb_element_compare_key(const struct nb_element *a, const struct nb_element *b)
{
	int order = strcmp(a->bridge, b->bridge);

	if (order != 0)
		return order;
	if (a->protocol != b->protocol)
		return a->protocol < b->protocol ? -1 : 1;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	return 0;
}

int nb_element_compare(const struct nb_element *a, const struct nb_element *b)
{
	int order = nb_element_compare_key(a, b);

	if (order != 0)
		return order;
	if (a->target.address != b->target.address)
		return a->target.address < b->target.address ? -1 : 1;
	if (a->target.port != b->target.port)
		return a->target.port < b->target.port ? -1 : 1;
	return 0;
}

static int compare_void(const void *a, const void *b)
{
	return nb_element_compare(a, b);
}

void nb_element_list_sort(struct nb_element_list *list)
{
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items), compare_void);
}

struct nb_element *nb_element_find(const struct nb_element_list *list, const struct nb_element *key)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (nb_element_compare_key(&list->items[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < list->count && nb_element_compare_key(&list->items[low], key) == 0)
		return &list->items[low];
	return NULL;
}

const struct nb_element *nb_element_find_exact(const struct nb_element_list *list,
					       const struct nb_element *element)
{
	const struct nb_element *found = nb_element_find(list, element);
	const struct nb_element *end = list->items + list->count;

	for (; found && found < end && nb_element_compare_key(found, element) == 0; found++)
		if (nb_target_equal(&found->target, &element->target))
			return found;
	return NULL;
}

bool nb_element_list_has_bridge(const struct nb_element_list *list, const char *bridge)
{
	struct nb_element first = { .protocol = 0 };
	size_t low = 0, high = list->count;

	strncpy(first.bridge, bridge, sizeof(first.bridge) - 1);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (nb_element_compare_key(&list->items[middle], &first) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < list->count && strcmp(list->items[low].bridge, bridge) == 0;
}

bool nb_element_same_expiry(const struct nb_element *a, const struct nb_element *b)
{
	int64_t apart = a->expires - b->expires;

	if (!a->expires || !b->expires)
		return a->expires == b->expires;
	return apart < EXPIRY_SLACK_MS && apart > -EXPIRY_SLACK_MS;
}

/* Index of the first bridge that is not before @name. */
static size_t lower_bound(const struct nb_bridge_list *list, const char *name)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(list->items[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct nb_bridge *nb_bridge_find(const struct nb_bridge_list *list, const char *name)
{
	size_t i = lower_bound(list, name);

	if (i < list->count && strcmp(list->items[i].name, name) == 0)
		return &list->items[i];
	return NULL;
}

struct nb_bridge *nb_bridge_put(struct nb_bridge_list *list, const char *name)
{
	size_t i = lower_bound(list, name);
	struct nb_bridge *grown;

	if (i < list->count && strcmp(list->items[i].name, name) == 0)
		return &list->items[i];
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 8;

		grown = realloc(list->items, capacity * sizeof(*grown));
		if (!grown)
			return NULL;
		list->items = grown;
		list->capacity = capacity;
	}
	memmove(&list->items[i + 1], &list->items[i], (list->count - i) * sizeof(*list->items));
	memset(&list->items[i], 0, sizeof(list->items[i]));
	strncpy(list->items[i].name, name, NB_IFNAME_SIZE - 1);
	list->count++;
	return &list->items[i];
}

void nb_bridge_list_clear(struct nb_bridge_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}
