/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of causes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "diagnose.h"

static const struct nb_code *find_code(const char *code)
{
	for (size_t i = 0; i < nb_code_count; i++)
		if (strcmp(nb_codes[i].code, code) == 0)
			return &nb_codes[i];
	return &nb_codes[nb_code_count - 1];
}

struct nb_cause *nb_cause_add(struct nb_cause_list *list, const char *code)
{
	const struct nb_code *known = find_code(code);
	struct nb_cause *cause;

	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 8;

		cause = reallocarray(list->items, capacity, sizeof(*cause));
		if (!cause)
			return NULL;
		list->items = cause;
		list->capacity = capacity;
	}
	cause = &list->items[list->count++];
	*cause = (struct nb_cause){ .code = known->code, .why = known->why };
	return cause;
}

void nb_cause_recode(struct nb_cause *cause, const char *code)
{
	const struct nb_code *known = find_code(code);

	cause->code = known->code;
	cause->why = known->why;
}

static int compare(const void *a, const void *b)
{
	const struct nb_cause *left = a, *right = b;

	if (left->fixed != right->fixed)
		return left->fixed ? 1 : -1;
	if (left->severity != right->severity)
		return left->severity < right->severity ? -1 : 1;
	if (left->proven != right->proven)
		return left->proven ? -1 : 1;
	return find_code(left->code)->rank - find_code(right->code)->rank;
}

static bool is_same(const struct nb_cause *a, const struct nb_cause *b)
{
	return strcmp(a->code, b->code) == 0 && strcmp(a->what, b->what) == 0;
}

/* qsort(3) is not stable, and what was found first is to stay first. */
void nb_cause_list_sort(struct nb_cause_list *list)
{
	size_t kept = 0;

	for (size_t i = 1; i < list->count; i++) {
		struct nb_cause moved = list->items[i];
		size_t j = i;

		for (; j > 0 && compare(&list->items[j - 1], &moved) > 0; j--)
			list->items[j] = list->items[j - 1];
		list->items[j] = moved;
	}
	for (size_t i = 0; i < list->count; i++) {
		bool said = false;

		for (size_t j = 0; j < kept && !said; j++)
			said = is_same(&list->items[j], &list->items[i]);
		if (!said)
			list->items[kept++] = list->items[i];
	}
	list->count = kept;
}

void nb_cause_list_clear(struct nb_cause_list *list)
{
	free(list->items);
	memset(list, 0, sizeof(*list));
}

void nb_append_text(char *text, size_t size, const char *more)
{
	size_t used = strlen(text);

	nb_copy_line(text + used, size - used, more);
}

struct nb_cause *nb_blame_host(struct nb_diagnosis *diagnosis, const char *code)
{
	struct nb_cause *cause = nb_cause_add(&diagnosis->causes, code);

	if (!cause)
		diagnosis->no_memory = true;
	return cause;
}

struct nb_cause *nb_blame_bridge(struct nb_diagnosis *diagnosis, const struct nb_case *one,
				 const char *code)
{
	struct nb_cause *cause = nb_blame_host(diagnosis, code);

	if (!cause)
		return NULL;
	nb_network_format(&one->mapping->network, cause->network);
	memcpy(cause->bridge, one->bridge, sizeof(cause->bridge));
	return cause;
}

struct nb_cause *nb_blame_case(struct nb_diagnosis *diagnosis, const struct nb_case *one,
			       const char *code)
{
	struct nb_cause *cause = nb_blame_bridge(diagnosis, one, code);

	if (!cause)
		return NULL;
	cause->port = one->mapping->port;
	cause->protocol = one->mapping->protocol;
	return cause;
}

bool nb_cause_concerns(const struct nb_cause *cause, const struct nb_case *one)
{
	if (cause->bridge[0] && strcmp(cause->bridge, one->bridge) != 0)
		return false;
	return cause->port == 0 ||
	       (cause->port == one->mapping->port && cause->protocol == one->mapping->protocol);
}

bool nb_is_blamed(const struct nb_diagnosis *diagnosis, const struct nb_case *one, const char *code)
{
	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		const struct nb_cause *cause = &diagnosis->causes.items[i];

		if (strcmp(cause->code, code) == 0 && nb_cause_concerns(cause, one))
			return true;
	}
	return false;
}
