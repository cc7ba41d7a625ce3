/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Errors and warnings as values. Nothing below src/cli prints: a function
 * that fails fills one struct nb_error and returns a negative errno; each
 * layer may prefix what it knows (nb_error_prefix), so that the message reads
 * from the outside in.
 */
#ifndef NAT_BRIDGE_ERROR_H
#define NAT_BRIDGE_ERROR_H

#include <stddef.h>

/* Exit statuses of the program; a contract with its users. */
enum nb_status {
	NB_STATUS_OK = 0,
	NB_STATUS_FAILED = 1,  /* nothing was changed, unless the message says so */
	NB_STATUS_USAGE = 2,   /* wrong usage, or an invalid rule file */
	NB_STATUS_DRIFT = 3,   /* check found a difference */
	NB_STATUS_PARTIAL = 4, /* apply --keep-going left invalid files out */
};

struct nb_error {
	enum nb_status status;
	int number;	   /* positive errno, 0 if there is none */
	char code[32];	   /* stable word for programs: "usage", "conflict", ... */
	char message[768]; /* one line, no trailing newline, says what to do */
	char file[256];	   /* path, or "" */
	unsigned int line; /* 1-based, or 0 */
	char key[128];	   /* "mappings[0].port", or "" */
};

/*
 * Fill @err. @number is a positive errno; the return value is its negative,
 * so that callers write "return nb_error_set(...)". @code is one of the words
 * listed in nat-bridge(8). Place fields (file, line, key) are cleared.
 */
int nb_error_set(struct nb_error *err, enum nb_status status, int number, const char *code,
		 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Put "text: " in front of the message; cut at the buffer's end. */
void nb_error_prefix(struct nb_error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Warnings in the order in which they arose. Zero-initialise; free with nb_warnings_clear(). */
struct nb_warnings {
	char **items;
	size_t count;
};

/* Append one line; an exact repetition is dropped. Out of memory: the warning is lost. */
void nb_warn(struct nb_warnings *warnings, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void nb_warnings_clear(struct nb_warnings *warnings);

#endif
