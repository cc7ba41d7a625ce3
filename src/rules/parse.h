/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the parts of src/rules that read and write rule files. */
#ifndef NAT_BRIDGE_RULES_PARSE_H
#define NAT_BRIDGE_RULES_PARSE_H

#include <stdio.h>

#include "file.h"
#include "index.h"
#include "nat-bridge/rules.h"

#define NB_RULES_KIND	  ((struct nb_file_kind){ NB_STATUS_USAGE, "rule-file" })
#define NB_DIRECTORY_KIND ((struct nb_file_kind){ NB_STATUS_FAILED, "rules-directory" })
#define NB_WRITE_KIND	  ((struct nb_file_kind){ NB_STATUS_FAILED, "write" })

#define NB_WARN_REPETITIONS 8 /* so many repeated mappings are named one by one */

/* A reading under way: the rules, whose lists are not sorted yet. */
struct nb_rules_reading {
	const struct nb_rules_about *about; /* NULL: everything matters */
	struct nb_rules *rules;
	struct nb_index index; /* of rules->mappings */
	struct nb_warnings *warnings;
	size_t repetitions; /* warned of, or only counted */
};

/*
 * Read the text of rules->files[@file] into the lists. On failure they are
 * as before. @path names the file in errors.
 */
int nb_rules_parse(struct nb_rules_reading *reading, size_t file, const char *path,
		   const char *text, size_t length, struct nb_error *err);

/* Is @comment fit for a rule file? Otherwise *@why is a phrase. */
bool nb_comment_valid(const char *comment, const char **why);

/* Write a whole rule file. Errors stay in the stream's error flag. */
void nb_rules_print(FILE *stream, const char *schema, const struct nb_mapping *const *mappings,
		    size_t count);

/* DIRECTORY/NAME; free it. NULL: out of memory. */
char *nb_rules_path(const char *directory, const char *name);

int nb_rules_out_of_memory(struct nb_error *err);

#endif
