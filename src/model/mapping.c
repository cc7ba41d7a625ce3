/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nat-bridge/mapping.h"

#include <errno.h>
#include <stdio.h>
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

void nb_mapping_clear(struct nb_mapping *mapping)
{
	free(mapping->comment);
	free(mapping->except);
	mapping->comment = mapping->except = NULL;
}

int nb_mapping_copy_texts(struct nb_mapping *to, const struct nb_mapping *from)
{
	char *comment = from->comment ? strdup(from->comment) : NULL;
	char *except = from->except ? strdup(from->except) : NULL;

	to->comment = to->except = NULL;
	if ((from->comment && !comment) || (from->except && !except)) {
		free(comment);
		free(except);
		return -ENOMEM;
	}
	to->comment = comment;
	to->except = except;
	return 0;
}

/* The next word of mapping->except behind *@at; false: there is none. */
static bool next_exception(const char **at, char *word, size_t size)
{
	size_t length = *at ? strcspn(*at, " ") : 0;

	if (!length)
		return false;
	snprintf(word, size, "%.*s", (int)length, *at);
	*at += length + ((*at)[length] == ' ');
	return true;
}

bool nb_mapping_excepts(const struct nb_mapping *mapping, const char *name)
{
	const char *at = mapping->except;
	char word[NB_NETWORK_SIZE];
	struct nb_network network;

	while (next_exception(&at, word, sizeof(word)))
		if (nb_network_parse(word, &network, NULL) == 0 &&
		    nb_network_matches(&network, name))
			return true;
	return false;
}

int nb_mapping_except(struct nb_mapping *mapping, const char *word, struct nb_error *err)
{
	char qualified[NB_NETWORK_SIZE + 128], have[NB_NETWORK_SIZE];
	const char *at = mapping->except;
	struct nb_network network;
	char *grown;
	int r;

	snprintf(qualified, sizeof(qualified), "%s%s%s",
		 nb_network_is_qualified(word) ? "" : nb_engine_name(mapping->network.engine),
		 nb_network_is_qualified(word) ? "" : ":", word);
	r = nb_network_parse(qualified, &network, err);
	if (r < 0)
		return r;
	while (next_exception(&at, have, sizeof(have)))
		if (strcmp(have, qualified) == 0)
			return 0;
	if (asprintf(&grown, "%s%s%s", mapping->except ? mapping->except : "",
		     mapping->except ? " " : "", qualified) < 0)
		return -ENOMEM;
	free(mapping->except);
	mapping->except = grown;
	return 0;
}

int nb_mapping_except_likewise(struct nb_mapping *mapping, const struct nb_mapping *other)
{
	const char *at = other->except;
	char word[NB_NETWORK_SIZE];
	int r = 0;

	while (r == 0 && next_exception(&at, word, sizeof(word)))
		r = nb_mapping_except(mapping, word, NULL);
	return r;
}

int nb_mapping_check_except(const struct nb_mapping *mapping, struct nb_error *err)
{
	char pattern[NB_NETWORK_SIZE], word[NB_NETWORK_SIZE];
	const char *at = mapping->except;
	struct nb_network network;

	nb_network_format(&mapping->network, pattern);
	if (at && !nb_network_is_pattern(&mapping->network))
		return nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage",
				    "only of a pattern such as docker:* can networks be left out, "
				    "and %s is none",
				    pattern);
	while (next_exception(&at, word, sizeof(word)))
		if (nb_network_parse(word, &network, err) < 0 ||
		    network.engine != mapping->network.engine)
			return nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage",
					    "%s cannot be left out of %s: it is of another engine",
					    word, pattern);
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
	if (nb_mapping_copy_texts(&copy, mapping) < 0)
		return -ENOMEM;
	list->items[list->count++] = copy;
	return 0;
}

void nb_mapping_list_clear(struct nb_mapping_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		nb_mapping_clear(&list->items[i]);
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
