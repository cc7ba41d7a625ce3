/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Does a text hold a number? Against a search that looks at every byte. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dir.h"
#include "rules/mention.h"
#include "unit.h"

/* Runs of digits, leading zeros aside, that equal @number. */
static bool holds(const char *text, size_t length, const char *number)
{
	size_t digits = strlen(number);

	for (size_t i = 0; i < length; i++) {
		size_t end = i;

		if (!isdigit((unsigned char)text[i]))
			continue;
		while (end < length && isdigit((unsigned char)text[end]))
			end++;
		while (i < end && text[i] == '0')
			i++;
		if (end - i == digits && memcmp(text + i, number, digits) == 0)
			return true;
		i = end;
	}
	return false;
}

/* Few different characters, so that near misses are as frequent as can be. */
START_TEST(every_kind_of_text)
{
	static const char alphabet[] = "00112 ,";
	static const char *const numbers[] = { "1", "2", "12", "21", "11", "101", "1021", "21012" };
	uint32_t seed = 1;
	size_t found = 0;

	for (int round = 0; round < 200000; round++) {
		char text[80], exact[80];
		size_t length = (seed >> 8) % sizeof(text);
		const char *number;

		for (size_t i = 0; i < length; i++) {
			seed = seed * 1664525 + 1013904223;
			text[i] = alphabet[(seed >> 16) % (sizeof(alphabet) - 1)];
		}
		seed = seed * 1664525 + 1013904223;
		number = numbers[(seed >> 16) % COUNT(numbers)];
		/* at the very end of what it may read, for the sanitizers */
		memcpy(exact + sizeof(exact) - length, text, length);
		ck_assert_msg(nb_text_holds_number(exact + sizeof(exact) - length, length,
						   number) == holds(text, length, number),
			      "%s in '%.*s'", number, (int)length, text);
		found += holds(text, length, number);
	}
	ck_assert_uint_gt(found, 20000);
	ck_assert_uint_lt(found, 180000);
}
END_TEST

/* Wherever the number stands in a file, seams of its reading included. */
START_TEST(every_place_in_a_file)
{
	static char text[3 * 65536];
	int fd;

	dir_enter();
	memset(text, 'x', sizeof(text));
	dir_write_bytes("file", text, sizeof(text));
	fd = open("file", O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert(!nb_file_may_hold_port(fd, 65001));
	for (off_t at = 65536 - 40; at < 65536 + 40; at++) {
		ck_assert_int_eq(pwrite(fd, "65001", 5, at), 5);
		ck_assert_msg(nb_file_may_hold_port(fd, 65001), "at %ld", (long)at);
		ck_assert_int_eq(pwrite(fd, "xxxxx", 5, at), 5);
	}
	ck_assert_int_eq(pwrite(fd, "65001", 5, sizeof(text) - 5), 5);
	ck_assert(nb_file_may_hold_port(fd, 65001));
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert(!nb_file_may_hold_port(fd, 65001));
	close(fd);
	dir_leave();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mention");

	unit_add(suite, "every_kind_of_text", every_kind_of_text);
	unit_add(suite, "every_place_in_a_file", every_place_in_a_file);
	return unit_run(suite);
}
