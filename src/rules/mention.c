/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Searches the raw text of rule files for a port. */
#include "mention.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parse.h"

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

/* Every number in the text that may be a port, as one pass over its digits finds them. */
static void note_numbers(struct nb_mentions *mentions)
{
	const char *end = mentions->text + mentions->length;

	for (const char *at = mentions->text; at < end; at++) {
		uint32_t number = 0;

		for (; at < end && is_digit(*at); at++)
			number = number > UINT16_MAX ? number : 10 * number + (uint32_t)(*at - '0');
		if (number && number <= UINT16_MAX)
			mentions->ports[number / 8] |= (uint8_t)(1 << number % 8);
	}
}

/* Without any there is no port in it. */
static bool has_digits(const struct nb_mentions *mentions)
{
	for (size_t i = 0; i < mentions->length; i++)
		if (is_digit(mentions->text[i]))
			return true;
	return false;
}

/* A name that `add` makes, "...-PORT-PROTOCOL.json": it tells what was in the file. */
static bool names_a_key(const char *name)
{
	size_t length = strlen(name);
	const char *end = name + length - strlen("-tcp.json");

	return end > name && is_digit(end[-1]) &&
	       (strcmp(end, "-tcp.json") == 0 || strcmp(end, "-udp.json") == 0);
}

/* Read what stands in it, as far as it can be read. */
static int read_text(int fd, struct nb_mentions *mentions)
{
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return 0;
	mentions->anything = true;
	if (st.st_size > (off_t)NB_FILE_MAX)
		return 0;
	mentions->text = malloc((size_t)st.st_size + 1);
	if (!mentions->text)
		return -ENOMEM;
	while ((n = read(fd, mentions->text + mentions->length,
			 (size_t)st.st_size - mentions->length)) > 0)
		mentions->length += (size_t)n;
	note_numbers(mentions);
	mentions->anything = n < 0;
	mentions->forgotten = !has_digits(mentions) && !names_a_key(mentions->file);
	return 0;
}

int nb_mentions_read(const struct nb_rules *rules, const struct nb_rule_file *file,
		     struct nb_mentions *ret)
{
	char *path = nb_rules_path(rules->directory, file->name);
	int fd, r;

	*ret = (struct nb_mentions){ .file = file->name };
	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	free(path);
	if (fd < 0) {
		/* what cannot be read might hold anything; a pipe or a directory holds nothing */
		ret->anything = errno != ENOENT && errno != ENXIO && errno != ELOOP;
		return 0;
	}
	r = read_text(fd, ret);
	close(fd);
	return r;
}

bool nb_mentions_key(struct nb_mentions *mentions, const struct nb_network *network,
		     uint8_t protocol, uint16_t port)
{
	const struct nb_mapping key = { .network = *network, .protocol = protocol, .port = port };
	char *name;
	bool same;

	if (mentions->anything)
		return true;
	/* the file that `add` made for this key, whatever became of its text */
	name = port ? nb_rules_file_name(&key) : NULL;
	same = name && strcmp(name, mentions->file) == 0;
	free(name);
	if (same)
		return true;
	if (port && !(mentions->ports[port / 8] & 1 << port % 8))
		return false;
	/* keys come sorted by network: it is searched for once */
	if (!mentions->searched || strcmp(mentions->network, network->name) != 0) {
		strcpy(mentions->network, network->name);
		mentions->searched = true;
		mentions->found = memmem(mentions->text, mentions->length, network->name,
					 strlen(network->name)) != NULL;
	}
	return mentions->found;
}

void nb_mentions_clear(struct nb_mentions *mentions)
{
	free(mentions->text);
	*mentions = (struct nb_mentions){ 0 };
}

bool nb_rules_invalid_mentions(const struct nb_rules *rules, const struct nb_rule_file *file,
			       const struct nb_network *network, uint16_t port)
{
	struct nb_mentions mentions;
	bool mentioned = nb_mentions_read(rules, file, &mentions) < 0;

	for (int protocol = 0; protocol < 2 && !mentioned; protocol++)
		mentioned = nb_mentions_key(&mentions, network,
					    protocol ? IPPROTO_UDP : IPPROTO_TCP, port);
	nb_mentions_clear(&mentions);
	return mentioned;
}
