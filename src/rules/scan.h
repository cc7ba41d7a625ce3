/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A strict reader of JSON text (RFC 8259) that knows its line. cJSON takes
 * more than JSON (NUL escapes, raw control characters, bad UTF-8, leading
 * zeros, what follows the document) and has no places; so everything is read
 * here first, member by member, without a tree. cJSON decodes the strings.
 *
 * Refused beyond the RFC: a byte order mark, \u0000, lone surrogates, and
 * what is nested deeper than NB_SCAN_DEPTH.
 */
#ifndef NAT_BRIDGE_SCAN_H
#define NAT_BRIDGE_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "nat-bridge/error.h"

#define NB_SCAN_DEPTH 8
#define NB_SCAN_KEY   64 /* longer keys are cut: none that we know is */

enum nb_scan_type {
	NB_SCAN_OBJECT,
	NB_SCAN_ARRAY,
	NB_SCAN_STRING,
	NB_SCAN_NUMBER,
	NB_SCAN_TRUE,
	NB_SCAN_FALSE,
	NB_SCAN_NULL,
};

struct nb_scan_value {
	enum nb_scan_type type;
	const char *text; /* as it stands in the file; a string without its quotes */
	size_t length;
	unsigned int line;
	bool escaped; /* a string that holds a backslash */
};

struct nb_scan {
	const char *file; /* for errors; so is code */
	const char *code;
	const char *at;
	const char *end;
	unsigned int line;
	unsigned int depth;
	/* The place for errors: top, top[index], top[index].member */
	char top[NB_SCAN_KEY];
	char member[NB_SCAN_KEY];
	size_t index; /* SIZE_MAX: not in an array */
	struct nb_error *err;
};

/* @text stays the caller's. Refuses an empty text and a byte order mark. */
int nb_scan_begin(struct nb_scan *scan, const char *file, const char *code, const char *text,
		  size_t length, struct nb_error *err);
/* After the value: nothing but blanks may follow. */
int nb_scan_end(struct nb_scan *scan);

/* Fail at @line: status NB_STATUS_USAGE, with file, line and key. Returns -EINVAL. */
int nb_scan_fail(struct nb_scan *scan, unsigned int line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What kind of value comes next, by its first character; false: none begins here. */
bool nb_scan_next_is(struct nb_scan *scan, enum nb_scan_type type);

/* Step over one value of any type, and say what it was. */
int nb_scan_value(struct nb_scan *scan, struct nb_scan_value *ret);

/*
 * Walk the object (array) that comes next. The callback must step over the
 * member's (element's) value; a return other than 0 ends the walk and is returned.
 * @line is the line of the key, or of the element's first character.
 */
int nb_scan_members(struct nb_scan *scan,
		    int (*member)(struct nb_scan *scan, const char *key, unsigned int line,
				  void *data),
		    void *data);
int nb_scan_elements(struct nb_scan *scan,
		     int (*element)(struct nb_scan *scan, unsigned int line, void *data),
		     void *data);

/*
 * Which of @count keys is @key? Refuses an unknown one, naming the nearest,
 * and one whose bit is set in @seen already. At most 32 keys.
 */
int nb_scan_key(struct nb_scan *scan, const char *key, unsigned int line, const char *const *keys,
		size_t count, unsigned int *seen, size_t *ret);

/* A string value, decoded; free it. NULL: out of memory. */
char *nb_scan_string(const struct nb_scan_value *value);

#endif
