/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "userdata.h"

const char *nb_userdata_text(const void *data, size_t length, uint8_t type)
{
	const uint8_t *at = data;

	while (length >= 2 && length >= 2u + at[1]) {
		size_t size = 2u + at[1];

		if (at[0] == type && at[1] > 0 && at[size - 1] == '\0')
			return (const char *)at + 2;
		length -= size;
		at += size;
	}
	return NULL;
}
