/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Searches the raw text of rule files for a port. */
#include "mention.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536
/* the longest port, and a digit on either side of it */
#define OVERLAP (sizeof("65535") + 1)

/*
 * Sixteen bytes at a time. A file of 65,000 mappings has 5.7 MB, and memmem()
 * takes three times as long for a needle of five bytes.
 */
typedef unsigned char block __attribute__((vector_size(16)));
typedef uint64_t halves __attribute__((vector_size(16)));

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* How many bytes from @text on cannot begin @number: a multiple of a block. */
static size_t skip(const char *text, size_t length, const char *number, size_t digits)
{
	size_t at = 0;
	block first, last;

	memset(&first, number[0], sizeof(first));
	memset(&last, number[digits - 1], sizeof(last));
	for (; length - at >= sizeof(block) + digits; at += sizeof(block)) {
		block begin, end;
		halves both;

		memcpy(&begin, text + at, sizeof(begin));
		memcpy(&end, text + at + digits - 1, sizeof(end));
		both = (halves)((begin == first) & (end == last));
		if (both[0] | both[1])
			break;
	}
	return at;
}

bool nb_text_holds_number(const char *text, size_t length, const char *number)
{
	const char *end = text + length;
	size_t digits = strlen(number);

	for (const char *at = text; at + digits <= end; at++) {
		const char *before;

		at += skip(at, (size_t)(end - at), number, digits);
		if (memcmp(at, number, digits) != 0)
			continue;
		if (at + digits < end && is_digit(at[digits]))
			continue;
		before = at;
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
