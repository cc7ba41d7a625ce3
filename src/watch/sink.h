/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the lines of a log go: standard output, a file, or systemd's journal. */
#ifndef NAT_BRIDGE_WATCH_SINK_H
#define NAT_BRIDGE_WATCH_SINK_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "nat-bridge/error.h"

enum nb_sink_kind {
	NB_SINK_OUTPUT,	 /* a descriptor */
	NB_SINK_FILE,	 /* appended to; opened again when told to, so that it can be rotated */
	NB_SINK_JOURNAL, /* fields NAT_BRIDGE_*: systemd.journal-fields(7) */
};

#define NB_SINK_BUFFER 4096 /* what a pipe takes as a whole: PIPE_BUF */

struct nb_sink {
	enum nb_sink_kind kind;
	const char *path; /* borrowed */
	int fd;
	bool hurry;    /* nobody waits for a reader any more */
	int interrupt; /* while this is readable nobody waits, either; or -1 */
	char buffer[NB_SINK_BUFFER];
	unsigned int length; /* of whole lines in it, */
	unsigned int lines;  /* and how many */
	uint64_t lost;	     /* lines that could not be written, and not yet said */
};

/* Is it "-", "journal", or a path with a slash in it? */
bool nb_sink_is_place(const char *where);
/* 0, or -errno with @err filled. @where is such a place, and borrowed. */
int nb_sink_open(struct nb_sink *sink, const char *where, struct nb_error *err);
/* The file may have been renamed. 0 or -errno; then the old one goes on. */
int nb_sink_reopen(struct nb_sink *sink);
/*
 * Write @object as one line; @text is what a person reads in the journal. Waits where the reader
 * is slow, until sink->interrupt. What fails is counted in sink->lost.
 */
void nb_sink_write(struct nb_sink *sink, const cJSON *object, const char *text);
/* Lines are collected until this is called, or until they fill the buffer. */
void nb_sink_flush(struct nb_sink *sink);
void nb_sink_close(struct nb_sink *sink);

#endif
