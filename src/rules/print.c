/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mappings -> the text of a rule file, laid out as a person would. */
#include <string.h>

#include "parse.h"

static void print_string(FILE *stream, const char *text)
{
	putc_unlocked('"', stream);
	for (; *text; text++) {
		unsigned char byte = (unsigned char)*text;

		if (byte == '"' || byte == '\\')
			fprintf(stream, "\\%c", byte);
		else if (byte < 0x20)
			fprintf(stream, "\\u%04x", byte);
		else
			putc_unlocked(byte, stream);
	}
	putc_unlocked('"', stream);
}

/* Words with blanks between them, none of which needs to be escaped. */
static void print_except(FILE *stream, const char *except)
{
	const char *separator = ",\n      \"except\": [ ";

	if (!except)
		return;
	while (*except) {
		int length = (int)strcspn(except, " ");

		fprintf(stream, "%s\"%.*s\"", separator, length, except);
		separator = ", ";
		except += length + (except[length] == ' ');
		if (!*except)
			fputs(" ]", stream);
	}
}

static void print_mapping(FILE *stream, const struct nb_mapping *mapping)
{
	char network[NB_NETWORK_SIZE];
	char target[NB_TARGET_SIZE];

	fprintf(stream,
		"    {\n"
		"      \"network\": \"%s\",\n"
		"      \"port\": %u,\n"
		"      \"protocol\": \"%s\",\n"
		"      \"target\": \"%s\"",
		nb_network_format(&mapping->network, network), mapping->port,
		nb_protocol_name(mapping->protocol), nb_target_format(&mapping->target, target));
	if (!mapping->enabled)
		fputs(",\n      \"enabled\": false", stream);
	if (mapping->until) {
		char until[NB_TIME_SIZE];

		fprintf(stream, ",\n      \"until\": \"%s\"",
			nb_time_format(mapping->until, until));
	}
	if (mapping->external)
		fputs(",\n      \"external\": true", stream);
	if (mapping->comment) {
		fputs(",\n      \"comment\": ", stream);
		print_string(stream, mapping->comment);
	}
	print_except(stream, mapping->except);
	fputs("\n    }", stream);
}

void nb_rules_print(FILE *stream, const char *schema, const struct nb_mapping *const *mappings,
		    size_t count)
{
	fputs("{\n", stream);
	if (schema) {
		fputs("  \"$schema\": ", stream);
		print_string(stream, schema);
		fputs(",\n", stream);
	}
	fputs("  \"version\": 1,\n  \"mappings\": [\n", stream);
	for (size_t i = 0; i < count; i++) {
		print_mapping(stream, mappings[i]);
		fputs(i + 1 < count ? ",\n" : "\n", stream);
	}
	fputs("  ]\n}\n", stream);
}
