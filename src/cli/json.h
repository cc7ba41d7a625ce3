/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of JSON that may be unknown, and then are null. */
#ifndef NAT_BRIDGE_JSON_H
#define NAT_BRIDGE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

/* As one line of UTF-8, whatever its bytes. NULL and "" are unknown. */
void nb_json_add_text(cJSON *object, const char *key, const char *text);
void nb_json_add_count(cJSON *object, const char *key, bool known, uint64_t count);

#endif
