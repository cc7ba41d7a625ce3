/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory of its own for a test, and files in it. */
#ifndef NAT_BRIDGE_UNIT_DIR_H
#define NAT_BRIDGE_UNIT_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Make a fresh directory below $TMPDIR and go there. Fails the test on error. */
void dir_enter(void);
/* Remove it with all that is in it. */
void dir_leave(void);

/* Write @text, or @length bytes, to @path; 0644. */
void dir_write(const char *path, const char *text);
void dir_write_bytes(const char *path, const void *bytes, size_t length);
/* The whole of a file; free it. NULL: there is none. */
char *dir_read(const char *path);
bool dir_exists(const char *path);
/* How many entries @path has, "." and ".." aside. */
size_t dir_count(const char *path);

#endif
