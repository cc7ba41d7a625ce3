/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that we trust, read whole, and errors of file operations in words. */
#ifndef NAT_BRIDGE_FILE_H
#define NAT_BRIDGE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "nat-bridge/error.h"

#define NB_FILE_MAX ((size_t)64 << 20)

/* Is there something before @suffix? */
bool nb_has_suffix(const char *name, const char *suffix);

/* What a file error is called: its status and its word for programs. */
struct nb_file_kind {
	enum nb_status status;
	const char *code;
};

/*
 * Refuse what others than root and the caller can change. 0, or -EPERM with
 * @err about @path, which stands in its file alone: the message goes on from it.
 */
int nb_file_trust(const struct stat *st, struct nb_file_kind kind, const char *path,
		  struct nb_error *err);

/*
 * Read the regular file @name of @directory (a descriptor, or AT_FDCWD) whole;
 * @path is its name in errors. A pipe or a device is refused without being waited for.
 * The caller frees *@ret_text, which ends in a NUL that is not counted.
 * -ENOENT: there is no such name, and @err is not set.
 */
int nb_file_load(int directory, const char *name, struct nb_file_kind kind, const char *path,
		 char **ret_text, size_t *ret_length, struct nb_error *err);

/* "cannot VERB PATH: the file system is full; ..." for the positive errno @number. */
int nb_file_error(struct nb_error *err, struct nb_file_kind kind, int number, const char *verb,
		  const char *path);

#endif
