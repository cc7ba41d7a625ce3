/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a change says: edits by key, and the contents of each file that they touch. */
#include "change.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* gcc 12 takes what an element of an array owns for leaked when the index is no constant. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

static struct nb_change *change_new(const struct nb_rules *rules, bool remove)
{
	struct nb_change *change = calloc(1, sizeof(*change));

	if (!change)
		return NULL;
	change->rules = rules;
	change->remove = remove;
	change->directory = -1;
	change->slots = malloc((rules->file_count + 1) * sizeof(*change->slots));
	if (!change->slots) {
		free(change);
		return NULL;
	}
	for (size_t i = 0; i < rules->file_count; i++)
		change->slots[i] = SIZE_MAX;
	return change;
}

struct nb_change *nb_change_new_add(const struct nb_rules *rules)
{
	return change_new(rules, false);
}

struct nb_change *nb_change_new_remove(const struct nb_rules *rules)
{
	return change_new(rules, true);
}

void nb_change_free(struct nb_change *change)
{
	if (!change)
		return;
	for (size_t i = 0; i < change->file_count; i++)
		free(change->files[i].name);
	for (size_t i = 0; i < change->made_count; i++)
		free(change->made[i]);
	free(change->made);
	free(change->files);
	free(change->contents);
	free(change->edits);
	free(change->slots);
	nb_mapping_list_clear(&change->edited);
	nb_index_clear(&change->index);
	if (change->directory >= 0)
		close(change->directory);
	free(change);
}

char *nb_rules_file_name(const struct nb_mapping *mapping)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_.-";
	char network[3 * NB_NETWORK_NAME_SIZE];
	char *at = network;
	char *name;

	for (const char *c = mapping->network.name; *c; c++) {
		if (strchr(plain, *c))
			*at++ = *c;
		else
			at += sprintf(at, "%%%02X", (unsigned char)*c);
	}
	*at = '\0';
	if (asprintf(&name, "%s.%s-%u-%s.json", nb_engine_name(mapping->network.engine), network,
		     mapping->port, nb_protocol_name(mapping->protocol)) < 0)
		return NULL;
	return name;
}

/* The slot of a new entry of change->files, or SIZE_MAX. Takes @name, also on failure. */
static size_t add_slot(struct nb_change *change, char *name, size_t index)
{
	size_t count = change->file_count;

	if (name && !(count & (count - 1))) {
		struct nb_change_file *files = reallocarray(change->files, count ? 2 * count : 1,
							    sizeof(*files));

		if (files)
			change->files = files;
		else {
			free(name);
			name = NULL;
		}
	}
	if (!name)
		return SIZE_MAX;
	change->files[count] = (struct nb_change_file){ .name = name, .index = index };
	change->file_count++;
	return count;
}

/* The slot of a file that the rules know. */
static size_t slot_of_file(struct nb_change *change, size_t index)
{
	if (change->slots[index] == SIZE_MAX)
		change->slots[index] = add_slot(change, strdup(change->rules->files[index].name),
						index);
	return change->slots[index];
}

static int compare_file_name(const void *name, const void *file)
{
	return strcmp(name, ((const struct nb_rule_file *)file)->name);
}

/* The slot for a key that no file holds yet. */
static int slot_for_new(struct nb_change *change, const struct nb_mapping *mapping, size_t *ret,
			struct nb_error *err)
{
	const struct nb_rules *rules = change->rules;
	const struct nb_rule_file *file = NULL;
	char *name = nb_rules_file_name(mapping);

	if (name && rules->file_count)
		file = bsearch(name, rules->files, rules->file_count, sizeof(*file),
			       compare_file_name);
	if (file && !file->valid) {
		free(name);
		if (!file->error)
			return nb_rules_out_of_memory(err);
		nb_error_set(err, NB_STATUS_USAGE, EINVAL, "rule-file",
			     "%s is in the way of the file to write, and invalid (%s); mend or "
			     "delete it",
			     file->name, file->error->message);
		if (err) {
			memcpy(err->file, file->error->file, sizeof(err->file));
			memcpy(err->key, file->error->key, sizeof(err->key));
			err->line = file->error->line;
		}
		return -EINVAL;
	}
	if (file) {
		free(name);
		*ret = slot_of_file(change, (size_t)(file - rules->files));
	} else {
		*ret = add_slot(change, name, SIZE_MAX);
	}
	return *ret == SIZE_MAX ? nb_rules_out_of_memory(err) : 0;
}

/* Every file that repeats the key must be written anew without it. */
static int touch_repetitions(struct nb_change *change, const struct nb_mapping *mapping)
{
	const struct nb_mapping_list *repeated = &change->rules->repeated;
	size_t low = 0;
	size_t high = repeated->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (nb_mapping_compare_key(&repeated->items[middle], mapping) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < repeated->count && !nb_mapping_compare_key(&repeated->items[low], mapping);
	     low++) {
		if (slot_of_file(change, repeated->items[low].file) == SIZE_MAX)
			return -ENOMEM;
	}
	return 0;
}

/* A first edit of a key. */
static int add_edit(struct nb_change *change, const struct nb_mapping *mapping,
		    struct nb_change_edit edit, struct nb_error *err)
{
	size_t count = change->edited.count;

	if (!(count & (count - 1))) {
		struct nb_change_edit *edits = reallocarray(change->edits, count ? 2 * count : 1,
							    sizeof(*edits));

		if (!edits)
			return nb_rules_out_of_memory(err);
		change->edits = edits;
	}
	if (touch_repetitions(change, mapping) || nb_mapping_list_append(&change->edited, mapping))
		return nb_rules_out_of_memory(err);
	change->edits[count] = edit;
	if (nb_index_push(&change->index, &change->edited)) {
		nb_mapping_clear(&change->edited.items[--change->edited.count]);
		return nb_rules_out_of_memory(err);
	}
	return 0;
}

static bool same_text(const char *a, const char *b)
{
	return !a == !b && (!a || strcmp(a, b) == 0);
}

static bool says_the_same(const struct nb_mapping *a, const struct nb_mapping *b)
{
	return nb_target_equal(&a->target, &b->target) && a->enabled == b->enabled &&
	       a->external == b->external && a->until == b->until &&
	       same_text(a->comment, b->comment) && same_text(a->except, b->except);
}

int nb_change_put(struct nb_change *change, const struct nb_mapping *mapping, struct nb_error *err)
{
	size_t i = nb_index_find(&change->index, &change->edited, mapping);
	const struct nb_mapping *base;
	struct nb_change_edit edit = { .present = true };
	struct nb_mapping copy = *mapping;
	const char *why;
	int r;

	if (mapping->comment && !nb_comment_valid(mapping->comment, &why))
		return nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage", "the comment %s", why);
	if (i != SIZE_MAX) {
		struct nb_mapping *edited = &change->edited.items[i];

		if (change->edits[i].present && says_the_same(edited, mapping))
			return 0;
		if (nb_mapping_copy_texts(&copy, mapping) < 0)
			return nb_rules_out_of_memory(err);
		copy.line = edited->line;
		nb_mapping_clear(edited);
		*edited = copy;
		change->edits[i].present = true;
		return 1;
	}
	base = nb_rules_find(change->rules, &mapping->network, mapping->protocol, mapping->port);
	if (base && says_the_same(base, mapping))
		return 0;
	/* A replaced mapping keeps its place in the file, a new one goes last. */
	copy.line = base ? base->line : UINT_MAX;
	if (base) {
		edit.file = slot_of_file(change, base->file);
		r = edit.file == SIZE_MAX ? nb_rules_out_of_memory(err) : 0;
	} else {
		r = slot_for_new(change, mapping, &edit.file, err);
	}
	if (!r)
		r = add_edit(change, &copy, edit, err);
	return r ? r : 1;
}

int nb_change_take(struct nb_change *change, const struct nb_mapping *mapping, struct nb_error *err)
{
	size_t i = nb_index_find(&change->index, &change->edited, mapping);
	const struct nb_mapping *base;
	struct nb_change_edit edit = { 0 };
	int r;

	if (i != SIZE_MAX) {
		bool present = change->edits[i].present;

		change->edits[i].present = false;
		return present;
	}
	base = nb_rules_find(change->rules, &mapping->network, mapping->protocol, mapping->port);
	if (!base)
		return 0;
	edit.file = slot_of_file(change, base->file);
	if (edit.file == SIZE_MAX)
		return nb_rules_out_of_memory(err);
	r = add_edit(change, base, edit, err);
	return r ? r : 1;
}

const char *nb_change_file_of(const struct nb_change *change, const struct nb_mapping *mapping)
{
	size_t i = nb_index_find(&change->index, &change->edited, mapping);
	const struct nb_mapping *base;

	if (i != SIZE_MAX)
		return change->files[change->edits[i].file].name;
	base = nb_rules_find(change->rules, &mapping->network, mapping->protocol, mapping->port);
	return base ? change->rules->files[base->file].name : NULL;
}

/* One mapping of the new contents. */
struct entry {
	const struct nb_mapping *mapping;
	size_t slot;
	unsigned int line;
	size_t order;
};

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

/* What the touched files keep of a list. */
static size_t gather_kept(const struct nb_change *change, const struct nb_mapping_list *list,
			  struct entry *entries, size_t count)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct nb_mapping *mapping = &list->items[i];
		size_t slot = change->slots[mapping->file];

		if (slot == SIZE_MAX ||
		    nb_index_find(&change->index, &change->edited, mapping) != SIZE_MAX)
			continue;
		entries[count] = (struct entry){ mapping, slot, mapping->line, count };
		count++;
	}
	return count;
}

int nb_change_compose(struct nb_change *change, struct nb_error *err)
{
	const struct nb_rules *rules = change->rules;
	size_t most = rules->mappings.count + rules->repeated.count + change->edited.count;
	struct entry *entries = calloc(most + 1, sizeof(*entries));
	const struct nb_mapping **contents = calloc(most + 1, sizeof(*contents));
	size_t count = 0;

	if (!entries || !contents) {
		free(entries);
		free(contents);
		return nb_rules_out_of_memory(err);
	}
	count = gather_kept(change, &rules->mappings, entries, count);
	count = gather_kept(change, &rules->repeated, entries, count);
	for (size_t i = 0; i < change->edited.count; i++) {
		if (!change->edits[i].present)
			continue;
		entries[count] = (struct entry){ &change->edited.items[i], change->edits[i].file,
						 change->edited.items[i].line, count };
		count++;
	}
	qsort(entries, count, sizeof(*entries), compare_entries);
	for (size_t i = 0; i < count; i++) {
		struct nb_change_file *file = &change->files[entries[i].slot];

		contents[i] = entries[i].mapping;
		if (!file->mapping_count++)
			file->mappings = &contents[i];
	}
	free(entries);
	change->contents = contents;
	for (size_t i = 0; i < change->file_count; i++) {
		struct nb_change_file *file = &change->files[i];

		if (file->index == SIZE_MAX)
			file->action = file->mapping_count ? NB_CHANGE_CREATE : NB_CHANGE_NOTHING;
		else
			file->action = file->mapping_count ? NB_CHANGE_REPLACE : NB_CHANGE_DELETE;
	}
	return 0;
}
