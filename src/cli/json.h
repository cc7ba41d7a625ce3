/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What commands say in JSON. Values that may be unknown are then null. */
#ifndef NAT_BRIDGE_JSON_H
#define NAT_BRIDGE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "nat-bridge/error.h"

/* As one line of UTF-8, whatever its bytes, and whole. */
void nb_json_add_line(cJSON *object, const char *key, const char *text);
/* The same, but NULL and "" are unknown. */
void nb_json_add_text(cJSON *object, const char *key, const char *text);
void nb_json_add_count(cJSON *object, const char *key, bool known, uint64_t count);

struct nb_findings;
struct nb_row;
struct nb_row_list;
struct nb_run;

/* One mapping, with the keys that it has in every command. */
cJSON *nb_json_row(const struct nb_row *row);
void nb_json_add_rows(cJSON *object, const char *key, const struct nb_row_list *rows);
void nb_json_add_findings(cJSON *object, const char *key, const struct nb_findings *findings);
void nb_json_add_warnings(cJSON *object, const struct nb_run *run);
void nb_json_add_error(cJSON *object, const struct nb_error *error);
/* Print @object, and free it. */
void nb_json_print(const struct nb_run *run, cJSON *object);

#endif
