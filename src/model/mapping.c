/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nat-bridge/mapping.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int nb_mapping_compare_key(const struct nb_mapping *a, const struct nb_mapping *b)
{
	int r = nb_network_compare(&a->network, &b->network);

	if (r)
		return r;
	if (a->protocol != b->protocol)
		return a->protocol < b->protocol ? -1 : 1;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	return 0;
}

int nb_mapping_list_append(struct nb_mapping_list *list, const struct nb_mapping *mapping)
{
	struct nb_mapping copy = *mapping;

	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 16;
		struct nb_mapping *items;

		items = reallocarray(list->items, capacity, sizeof(*items));
		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	if (mapping->comment) {
		copy.comment = strdup(mapping->comment);
		if (!copy.comment)
			return -ENOMEM;
	}
	list->items[list->count++] = copy;
	return 0;
}

void nb_mapping_list_clear(struct nb_mapping_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].comment);
	free(list->items);
	*list = (struct nb_mapping_list){ 0 };
}

static bool is_sorted(const struct nb_mapping_list *list)
{
	for (size_t i = 1; i < list->count; i++) {
		if (nb_mapping_compare_key(&list->items[i - 1], &list->items[i]) > 0)
			return false;
	}
	return true;
}

/* Merge the sorted runs [begin, middle) and [middle, end) of @from into @to. */
static void merge(const struct nb_mapping *items, const size_t *from, size_t *to, size_t begin,
		  size_t middle, size_t end)
{
	size_t left = begin;
	size_t right = middle;

	for (size_t i = begin; i < end; i++) {
		if (left < middle &&
		    (right >= end ||
		     nb_mapping_compare_key(&items[from[left]], &items[from[right]]) <= 0))
			to[i] = from[left++];
		else
			to[i] = from[right++];
	}
}

/* Put items[order[i]] at place i, cycle by cycle; @order is used up. */
static void permute(struct nb_mapping *items, size_t *order, size_t count)
{
	for (size_t start = 0; start < count; start++) {
		struct nb_mapping first = items[start];
		size_t place = start;

		while (order[place] != start) {
			size_t next = order[place];

			items[place] = items[next];
			order[place] = place;
			place = next;
		}
		items[place] = first;
		order[place] = place;
	}
}

static void insertion_sort(struct nb_mapping_list *list)
{
	for (size_t i = 1; i < list->count; i++) {
		struct nb_mapping item = list->items[i];
		size_t j = i;

		for (; j && nb_mapping_compare_key(&list->items[j - 1], &item) > 0; j--)
			list->items[j] = list->items[j - 1];
		list->items[j] = item;
	}
}

/* Not qsort(), which is not stable in every C library. Indices are sorted, not the big items. */
void nb_mapping_list_sort(struct nb_mapping_list *list)
{
	size_t count = list->count;
	size_t *order;
	size_t *other;
	size_t *block;

	if (is_sorted(list))
		return;
	block = count > 8 ? calloc(count, 2 * sizeof(*block)) : NULL;
	if (!block) {
		insertion_sort(list);
		return;
	}
	order = block;
	other = block + count;
	for (size_t i = 0; i < count; i++)
		order[i] = i;
	for (size_t width = 1; width < count; width *= 2) {
		size_t *swap;

		for (size_t begin = 0; begin < count; begin += 2 * width) {
			size_t middle = begin + width < count ? begin + width : count;
			size_t end = begin + 2 * width < count ? begin + 2 * width : count;

			merge(list->items, order, other, begin, middle, end);
		}
		swap = order;
		order = other;
		other = swap;
	}
	permute(list->items, order, count);
	free(block);
}
