/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "text.h"

#include <stdio.h>
#include <string.h>

size_t nb_utf8_sequence(const char *text, size_t length)
{
	const unsigned char *byte = (const unsigned char *)text;
	unsigned char low = 0x80;
	unsigned char high = 0xbf;
	size_t size;

	if (!length)
		return 0;
	if (byte[0] < 0x80)
		return 1;
	/* 0xc0 and 0xc1 would be overlong, above 0xf4 is beyond U+10FFFF. */
	if (byte[0] < 0xc2 || byte[0] > 0xf4)
		return 0;
	size = byte[0] < 0xe0 ? 2 : byte[0] < 0xf0 ? 3 : 4;
	if (length < size)
		return 0;
	if (byte[0] == 0xe0)
		low = 0xa0; /* overlong */
	else if (byte[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (byte[0] == 0xf0)
		low = 0x90; /* overlong */
	else if (byte[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	if (byte[1] < low || byte[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++) {
		if ((byte[i] & 0xc0) != 0x80)
			return 0;
	}
	return size;
}

bool nb_is_plain_word(const char *text)
{
	/* not isalnum(): what that takes depends on the locale */
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789_.-";

	return text[0] && text[0] != '-' && !text[strspn(text, plain)];
}

const char *nb_setting_text(const char *device, const char *key, char buffer[NB_SETTING_SIZE])
{
	char between = strchr(device, '.') ? '/' : '.';

	snprintf(buffer, NB_SETTING_SIZE, "net%cipv4%cconf%c%s%c%s", between, between, between,
		 device, between, key);
	return buffer;
}

size_t nb_split_colons(char *text, char **parts, size_t max)
{
	size_t count = 0;

	for (;;) {
		parts[count++] = text;
		if (count == max)
			return count;
		text = strchr(text, ':');
		if (!text)
			return count;
		*text++ = '\0';
	}
}

void nb_copy_line(char *to, size_t size, const char *from)
{
	size_t length = strlen(from);
	size_t used = 0;

	while (length) {
		unsigned char first = (unsigned char)*from;
		size_t sequence = nb_utf8_sequence(from, length);
		size_t bytes = sequence ? sequence : 1;

		if (used + bytes >= size)
			break;
		if (first == '\n')
			to[used] = ' ';
		else if (!sequence || first < 0x20 || first == 0x7f)
			to[used] = '?';
		else if (first == 0xc2 && (unsigned char)from[1] < 0xa0)
			to[used] = to[used + 1] = '?'; /* C1 controls */
		else
			memcpy(to + used, from, bytes);
		used += bytes;
		from += bytes;
		length -= bytes;
	}
	to[used] = '\0';
}
