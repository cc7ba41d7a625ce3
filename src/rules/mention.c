/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Searches the raw text of rule files for a port. */
#include "mention.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536
/* the longest port, and a digit on either side of it */
#define OVERLAP (sizeof("65535") + 1)

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool nb_text_holds_number(const char *text, size_t length, const char *number)
{
	const char *end = text + length;
	size_t digits = strlen(number);

	for (const char *at = text; (at = memmem(at, (size_t)(end - at), number, digits)); at++) {
		const char *before = at;

		if (at + digits < end && is_digit(at[digits]))
			continue;
		while (before > text && before[-1] == '0')
			before--;
		if (before == text || !is_digit(before[-1]))
			return true;
	}
	return false;
}

/*
 * In pieces that overlap, so that a number on a seam is whole in one of them.
 * Cut off at a seam, a longer number may look like a shorter one: then the answer is a
 * needless "may", never a wrong "no".
 */
bool nb_file_may_hold_port(int fd, uint16_t port)
{
	char number[8], buffer[CHUNK + OVERLAP];
	size_t kept = 0;
	off_t offset = 0;

	snprintf(number, sizeof(number), "%u", port);
	for (;;) {
		ssize_t length = pread(fd, buffer + kept, CHUNK, offset);

		if (length < 0)
			return true;
		if (length == 0)
			return false;
		offset += length;
		if (nb_text_holds_number(buffer, kept + (size_t)length, number))
			return true;
		length += (ssize_t)kept;
		kept = (size_t)length < OVERLAP ? (size_t)length : OVERLAP;
		memmove(buffer, buffer + length - kept, kept);
	}
}
