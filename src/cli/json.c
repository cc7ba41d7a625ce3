/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of JSON that may be unknown. */
#include "json.h"

#include <limits.h>

#include "../model/text.h"

void nb_json_add_text(cJSON *object, const char *key, const char *text)
{
	char line[NAME_MAX + 1];

	if (!text || !*text) {
		cJSON_AddNullToObject(object, key);
		return;
	}
	/* names of files may be any bytes */
	nb_copy_line(line, sizeof(line), text);
	cJSON_AddStringToObject(object, key, line);
}

void nb_json_add_count(cJSON *object, const char *key, bool known, uint64_t count)
{
	if (known)
		cJSON_AddNumberToObject(object, key, (double)count);
	else
		cJSON_AddNullToObject(object, key);
}
