/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A change of rule files: what it says (change.c), and how it reaches the disk (store.c). */
#ifndef NAT_BRIDGE_CHANGE_H
#define NAT_BRIDGE_CHANGE_H

#include "parse.h"

/* What becomes of a file. */
enum nb_change_action {
	NB_CHANGE_NOTHING,
	NB_CHANGE_CREATE,
	NB_CHANGE_REPLACE,
	NB_CHANGE_DELETE,
};

struct nb_change_file {
	char *name;   /* base name */
	size_t index; /* in rules->files, or SIZE_MAX: a new file */
	enum nb_change_action action;
	bool written; /* .NAME.new exists */
	bool kept;    /* .NAME.gone exists */
	bool done;    /* NAME is what the change wants */
	bool swapped; /* .NAME.new holds the old file */
	const struct nb_mapping *const *mappings;
	size_t mapping_count;
};

/* The last word on one key. */
struct nb_change_edit {
	bool present;
	size_t file; /* in files */
};

enum nb_change_state {
	NB_CHANGE_OPEN,
	NB_CHANGE_PREPARED,
	NB_CHANGE_DONE,
};

struct nb_change {
	const struct nb_rules *rules;
	bool remove;
	enum nb_change_state state;
	bool begun; /* a commit took something away for good */

	struct nb_mapping_list edited; /* parallel to edits */
	struct nb_change_edit *edits;
	struct nb_index index; /* of edited */
	size_t *slots;	       /* of each file of the rules: its place in files, or SIZE_MAX */

	struct nb_change_file *files;
	size_t file_count;
	const struct nb_mapping **contents; /* what the files' mappings point into */

	int directory; /* from prepare to the end, else -1 */
	char **made;   /* directories that prepare made, outermost first */
	size_t made_count;
};

/* Fill in action and mappings of each file. */
int nb_change_compose(struct nb_change *change, struct nb_error *err);

#endif
