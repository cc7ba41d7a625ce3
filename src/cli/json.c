/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What commands say in JSON. */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "cli.h"

void nb_json_add_line(cJSON *object, const char *key, const char *text)
{
	size_t size = strlen(text) + 1;
	char *line = malloc(size);

	/* names of files, of chains, of programs may be any bytes; a line is never longer than they */
	if (line) {
		nb_copy_line(line, size, text);
		cJSON_AddStringToObject(object, key, line);
	} else {
		cJSON_AddNullToObject(object, key);
	}
	free(line);
}

void nb_json_add_text(cJSON *object, const char *key, const char *text)
{
	if (text && *text)
		nb_json_add_line(object, key, text);
	else
		cJSON_AddNullToObject(object, key);
}

void nb_json_add_count(cJSON *object, const char *key, bool known, uint64_t count)
{
	if (known)
		cJSON_AddNumberToObject(object, key, (double)count);
	else
		cJSON_AddNullToObject(object, key);
}

/* The words of @text, which have blanks between them. */
static void add_words(cJSON *object, const char *key, const char *text)
{
	cJSON *array = cJSON_AddArrayToObject(object, key);

	while (*text) {
		int length = (int)strcspn(text, " ");
		char word[NB_NETWORK_SIZE];

		snprintf(word, sizeof(word), "%.*s", length, text);
		cJSON_AddItemToArray(array, cJSON_CreateString(word));
		text += length + (text[length] == ' ');
	}
}

cJSON *nb_json_row(const struct nb_row *row)
{
	const struct nb_mapping *mapping = row->mapping;
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE], until[NB_TIME_SIZE];
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "network", nb_network_format(&mapping->network, network));
	nb_json_add_text(object, "bridge", row->bridge);
	cJSON_AddStringToObject(object, "protocol", nb_protocol_name(mapping->protocol));
	cJSON_AddNumberToObject(object, "port", mapping->port);
	cJSON_AddStringToObject(object, "target", nb_target_format(&mapping->target, target));
	nb_json_add_text(object, "origin", row->origin);
	nb_json_add_text(object, "file", row->file);
	nb_json_add_text(object, "state", row->state);
	nb_json_add_count(object, "connections", row->counted, row->connections);
	nb_json_add_count(object, "packets", row->counted, row->packets);
	nb_json_add_count(object, "bytes", row->counted, row->bytes);
	nb_json_add_text(object, "expires",
			 mapping->until ? nb_time_format(mapping->until, until) : NULL);
	if (mapping->comment)
		cJSON_AddStringToObject(object, "comment", mapping->comment);
	if (mapping->except)
		add_words(object, "except", mapping->except);
	return object;
}

void nb_json_add_rows(cJSON *object, const char *key, const struct nb_row_list *rows)
{
	cJSON *array = cJSON_AddArrayToObject(object, key);

	for (size_t i = 0; i < rows->count; i++)
		cJSON_AddItemToArray(array, nb_json_row(&rows->items[i]));
}

void nb_json_add_findings(cJSON *object, const char *key, const struct nb_findings *findings)
{
	cJSON *array = cJSON_AddArrayToObject(object, key);

	for (size_t i = 0; i < findings->count; i++) {
		const struct nb_finding *finding = &findings->items[i];
		cJSON *json = cJSON_CreateObject();

		cJSON_AddStringToObject(json, "what", finding->what);
		nb_json_add_text(json, "network", finding->network);
		cJSON_AddStringToObject(json, "mend", finding->mend);
		cJSON_AddItemToArray(array, json);
	}
}

void nb_json_add_warnings(cJSON *object, const struct nb_run *run)
{
	cJSON *array = cJSON_AddArrayToObject(object, "warnings");

	for (size_t i = 0; i < run->warnings.count; i++)
		cJSON_AddItemToArray(array, cJSON_CreateString(run->warnings.items[i]));
}

void nb_json_add_error(cJSON *object, const struct nb_error *error)
{
	cJSON *json = cJSON_AddObjectToObject(object, "error");

	cJSON_AddStringToObject(json, "code", error->code[0] ? error->code : "failed");
	cJSON_AddStringToObject(json, "message", error->message);
	nb_json_add_text(json, "file", error->file);
	nb_json_add_count(json, "line", error->line != 0, error->line);
	nb_json_add_text(json, "key", error->key);
}

void nb_json_print(const struct nb_run *run, cJSON *object)
{
	char *text = run->stream ? cJSON_PrintUnformatted(object) : cJSON_Print(object);

	if (text)
		puts(text);
	else
		fputs("{\"error\": {\"code\": \"memory\", \"message\": \"out of memory\"}}\n",
		      stdout);
	free(text);
	cJSON_Delete(object);
}
