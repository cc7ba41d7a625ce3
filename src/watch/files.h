/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of files that the watcher depends on, by inotify(7). */
#ifndef NAT_BRIDGE_WATCH_FILES_H
#define NAT_BRIDGE_WATCH_FILES_H

#include <stdbool.h>

#define NB_FILES_MAX 8

/* One directory, and of its entries those that matter. */
struct nb_watched {
	const char *directory; /* borrowed */
	const char *suffix;    /* of names that matter, */
	const char *name;      /* or the one that does; NULL: none */
	int descriptor;	       /* -1: it is not there now */
	bool above;	       /* its parent is watched for it instead */
};

struct nb_files {
	int fd;
	struct nb_watched items[NB_FILES_MAX];
	unsigned int count;
};

/* 0 or -errno. */
int nb_files_open(struct nb_files *files);
void nb_files_close(struct nb_files *files);
/* Entries that end in @suffix, or the one called @name; @directory may come later. */
void nb_files_add(struct nb_files *files, const char *directory, const char *suffix,
		  const char *name);
/* Read all events. Did something happen that matters? */
bool nb_files_read(struct nb_files *files);

#endif
