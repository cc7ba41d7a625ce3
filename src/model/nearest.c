/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nat-bridge/mapping.h"

#include <string.h>
#include <strings.h>

#define NAME_MAX_LENGTH 127

/* Edits (insert, delete, replace, swap of neighbours) that make @a from @b; above @limit: any. */
static size_t distance(const char *a, const char *b, size_t limit)
{
	size_t before[NAME_MAX_LENGTH + 1]; /* two rows up */
	size_t above[NAME_MAX_LENGTH + 1];
	size_t row[NAME_MAX_LENGTH + 1];
	size_t m = strlen(a);
	size_t n = strlen(b);

	if (m > NAME_MAX_LENGTH || n > NAME_MAX_LENGTH || (m > n ? m - n : n - m) > limit)
		return limit + 1;
	for (size_t j = 0; j <= n; j++)
		above[j] = before[j] = j;
	for (size_t i = 1; i <= m; i++) {
		size_t least = row[0] = i;

		for (size_t j = 1; j <= n; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = best;
			if (best < least)
				least = best;
		}
		if (least > limit)
			return limit + 1;
		memcpy(before, above, (n + 1) * sizeof(row[0]));
		memcpy(above, row, (n + 1) * sizeof(row[0]));
	}
	return above[n];
}

size_t nb_nearest(const char *wanted, const char *const *names, size_t count)
{
	size_t length = strlen(wanted);
	size_t nearest = SIZE_MAX;
	size_t best = length < 2   ? 0
		      : length < 9 ? (length + 1) / 3
				   : 3; /* at most so many edits */

	for (size_t i = 0; i < count; i++) {
		size_t edits = strcasecmp(wanted, names[i]) == 0 ? 0
								 : distance(wanted, names[i], best);

		if (edits <= best && (nearest == SIZE_MAX || edits < best)) {
			best = edits;
			nearest = i;
		}
	}
	if (nearest != SIZE_MAX && best == 0)
		return nearest;
	/* The beginning of a name is nearer than a slip: "br-0123" of "br-0123456789ab". */
	for (size_t i = 0; length >= 3 && i < count; i++) {
		if (!strncmp(wanted, names[i], length))
			return i;
	}
	return nearest;
}
