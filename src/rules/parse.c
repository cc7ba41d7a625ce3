/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rule files: JSON -> mappings, one at a time, without a tree of the whole file. */
#include "parse.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "scan.h"

enum file_key { KEY_SCHEMA, KEY_VERSION, KEY_MAPPINGS, FILE_KEYS };

static const char *const file_keys[] = { "$schema", "version", "mappings" };

enum mapping_key {
	KEY_NETWORK,
	KEY_PORT,
	KEY_PROTOCOL,
	KEY_TARGET,
	KEY_ENABLED,
	KEY_UNTIL,
	KEY_EXTERNAL,
	KEY_COMMENT,
	KEY_EXCEPT,
	MAPPING_KEYS
};

static const char *const mapping_keys[] = { "network", "port",	   "protocol", "target", "enabled",
					    "until",   "external", "comment",  "except" };

struct parser {
	struct nb_rules_reading *reading;
	size_t file;
	unsigned int seen; /* file_key bits */
	unsigned int mapping_seen;
	struct nb_mapping mapping;
};

bool nb_comment_valid(const char *comment, const char **why)
{
	size_t length = strlen(comment);

	if (length >= NB_COMMENT_SIZE) {
		*why = "is longer than 255 bytes";
		return false;
	}
	while (length) {
		size_t size = nb_utf8_sequence(comment, length);

		if (!size) {
			*why = "is no UTF-8";
			return false;
		}
		if ((unsigned char)*comment < 0x20 || *comment == 0x7f ||
		    ((unsigned char)comment[0] == 0xc2 && (unsigned char)comment[1] < 0xa0)) {
			*why = "holds a control character";
			return false;
		}
		comment += size;
		length -= size;
	}
	return true;
}

static int out_of_memory(struct nb_scan *scan)
{
	return nb_rules_out_of_memory(scan->err);
}

static const char *type_name(enum nb_scan_type type)
{
	static const char *const names[] = {
		"an object", "an array", "a string", "a number", "true", "false", "null",
	};

	return names[type];
}

/* Up to 40 bytes of the value, for a message. */
static int shown(const struct nb_scan_value *value)
{
	return value->length < 40 ? (int)value->length : 40;
}

/* Decode a string of limited length into @buffer. */
static int copy_string(struct nb_scan *scan, const struct nb_scan_value *value, char *buffer,
		       size_t size)
{
	if (value->type != NB_SCAN_STRING)
		return nb_scan_fail(scan, value->line, "is %s, but must be a string",
				    type_name(value->type));
	if (value->escaped) {
		char *text = nb_scan_string(value);
		bool fits = text && strlen(text) < size;

		if (fits)
			memcpy(buffer, text, strlen(text) + 1);
		free(text);
		if (!text)
			return out_of_memory(scan);
		if (fits)
			return 0;
	} else if (value->length < size) {
		memcpy(buffer, value->text, value->length);
		buffer[value->length] = '\0';
		return 0;
	}
	return nb_scan_fail(scan, value->line, "\"%.*s...\" is longer than %zu bytes", shown(value),
			    value->text, size - 1);
}

/* What a parser of src/model said becomes an error with a place. */
static int fail_from(struct nb_scan *scan, unsigned int line, const struct nb_error *inner)
{
	return nb_scan_fail(scan, line, "%s", inner->message);
}

static int read_network(struct nb_scan *scan, const struct nb_scan_value *value,
			struct nb_mapping *mapping)
{
	struct nb_error inner;
	char text[NB_NETWORK_SIZE + 128]; /* room for names that are too long */
	int r = copy_string(scan, value, text, sizeof(text));

	if (r)
		return r;
	if (nb_network_parse(text, &mapping->network, &inner))
		return fail_from(scan, value->line, &inner);
	return 0;
}

static int read_port(struct nb_scan *scan, const struct nb_scan_value *value,
		     struct nb_mapping *mapping)
{
	char text[8];

	if (value->type == NB_SCAN_STRING)
		return nb_scan_fail(scan, value->line,
				    "\"%.*s\" is a string; write the number without quotes",
				    shown(value), value->text);
	if (value->type != NB_SCAN_NUMBER)
		return nb_scan_fail(scan, value->line, "is %s, but must be a number in 1-65535",
				    type_name(value->type));
	if (value->length < sizeof(text)) {
		memcpy(text, value->text, value->length);
		text[value->length] = '\0';
		if (!nb_port_number_parse(text, &mapping->port))
			return 0;
	}
	if (memchr(value->text, '.', value->length) || memchr(value->text, 'e', value->length) ||
	    memchr(value->text, 'E', value->length))
		return nb_scan_fail(scan, value->line,
				    "%.*s is not written as a plain integer in 1-65535",
				    shown(value), value->text);
	return nb_scan_fail(scan, value->line, "%.*s is not in 1-65535", shown(value), value->text);
}

static int read_protocol(struct nb_scan *scan, const struct nb_scan_value *value,
			 struct nb_mapping *mapping)
{
	char text[32];
	int r = copy_string(scan, value, text, sizeof(text));

	if (r)
		return r;
	r = nb_protocol_parse(text);
	if (r < 0)
		return nb_scan_fail(scan, value->line, "\"%s\" is neither \"tcp\" nor \"udp\"",
				    text);
	mapping->protocol = (uint8_t)r;
	return 0;
}

static int read_target(struct nb_scan *scan, const struct nb_scan_value *value,
		       struct nb_mapping *mapping)
{
	struct nb_error inner;
	char text[128];
	int r = copy_string(scan, value, text, sizeof(text));

	if (r)
		return r;
	if (nb_target_parse(text, &mapping->target, &inner))
		return fail_from(scan, value->line, &inner);
	return 0;
}

static int read_until(struct nb_scan *scan, const struct nb_scan_value *value,
		      struct nb_mapping *mapping)
{
	int64_t until;
	char text[64];
	int r = copy_string(scan, value, text, sizeof(text));

	if (r)
		return r;
	if (nb_time_parse(text, &until))
		return nb_scan_fail(scan, value->line,
				    "\"%s\" is no time; write it as 2026-11-23T05:49:21Z", text);
	/* 0 would mean: for ever. */
	if (until <= 0)
		return nb_scan_fail(scan, value->line, "\"%s\" is not after 1970-01-01T00:00:00Z",
				    text);
	mapping->until = until;
	return 0;
}

static int read_bool(struct nb_scan *scan, const struct nb_scan_value *value, bool *ret)
{
	if (value->type != NB_SCAN_TRUE && value->type != NB_SCAN_FALSE)
		return nb_scan_fail(scan, value->line, "is %s, but must be true or false",
				    type_name(value->type));
	*ret = value->type == NB_SCAN_TRUE;
	return 0;
}

static int read_comment(struct nb_scan *scan, const struct nb_scan_value *value,
			struct nb_mapping *mapping)
{
	const char *why;
	char text[NB_COMMENT_SIZE] = "";
	int r = copy_string(scan, value, text, sizeof(text));

	if (r)
		return r;
	if (!nb_comment_valid(text, &why))
		return nb_scan_fail(scan, value->line, "the comment %s", why);
	mapping->comment = strdup(text);
	return mapping->comment ? 0 : out_of_memory(scan);
}

static int read_exception(struct nb_scan *scan, unsigned int line, void *data)
{
	struct parser *parser = data;
	struct nb_scan_value value = { 0 };
	char text[NB_NETWORK_SIZE + 128];
	struct nb_network network;
	struct nb_error inner;
	int r = nb_scan_value(scan, &value);

	if (!r)
		r = copy_string(scan, &value, text, sizeof(text));
	if (r)
		return r;
	/* a bare name is refused, as everywhere in a file; the engine is looked at later */
	r = nb_network_parse(text, &network, &inner);
	if (!r)
		r = nb_mapping_except(&parser->mapping, text, &inner);
	if (r == -ENOMEM)
		return out_of_memory(scan);
	return r ? fail_from(scan, line, &inner) : 0;
}

static int read_except(struct nb_scan *scan, unsigned int line, struct parser *parser)
{
	if (!nb_scan_next_is(scan, NB_SCAN_ARRAY))
		return nb_scan_fail(scan, line, "must be an array of networks: [ \"docker:x\" ]");
	return nb_scan_elements(scan, read_exception, parser);
}

static int read_member(struct nb_scan *scan, const char *key, unsigned int line, void *data)
{
	struct parser *parser = data;
	struct nb_mapping *mapping = &parser->mapping;
	struct nb_scan_value value = { 0 };
	size_t i;
	int r;

	r = nb_scan_key(scan, key, line, mapping_keys, MAPPING_KEYS, &parser->mapping_seen, &i);
	if (r)
		return r;
	if (i == KEY_EXCEPT)
		return read_except(scan, line, parser);
	r = nb_scan_value(scan, &value);
	if (r)
		return r;
	switch ((enum mapping_key)i) {
	case KEY_NETWORK:
		return read_network(scan, &value, mapping);
	case KEY_PORT:
		return read_port(scan, &value, mapping);
	case KEY_PROTOCOL:
		return read_protocol(scan, &value, mapping);
	case KEY_TARGET:
		return read_target(scan, &value, mapping);
	case KEY_ENABLED:
		return read_bool(scan, &value, &mapping->enabled);
	case KEY_UNTIL:
		return read_until(scan, &value, mapping);
	case KEY_EXTERNAL:
		return read_bool(scan, &value, &mapping->external);
	case KEY_COMMENT:
		return read_comment(scan, &value, mapping);
	case KEY_EXCEPT:
	case MAPPING_KEYS:
		break;
	}
	return 0;
}

/* Where a mapping stands, for messages about another one. */
static void describe_place(const struct nb_rules *rules, const struct nb_mapping *mapping,
			   char *text, size_t size)
{
	snprintf(text, size, "%s:%u", rules->files[mapping->file].name, mapping->line);
}

/* The key of @mapping is taken by @first: the same again is harmless, something else is not. */
static int merge(struct nb_scan *scan, struct parser *parser, const struct nb_mapping *first)
{
	const struct nb_mapping *mapping = &parser->mapping;
	struct nb_rules_reading *reading = parser->reading;
	bool same_except = strcmp(first->except ? first->except : "",
				  mapping->except ? mapping->except : "") == 0;
	char target[NB_TARGET_SIZE];
	char network[NB_NETWORK_SIZE];
	char place[320];

	describe_place(reading->rules, first, place, sizeof(place));
	nb_network_format(&mapping->network, network);
	nb_target_format(&first->target, target);
	if (!nb_target_equal(&first->target, &mapping->target))
		return nb_scan_fail(scan, mapping->line,
				    "%s %u/%s has another target, %s, in %s; keep one of them",
				    network, mapping->port, nb_protocol_name(mapping->protocol),
				    target, place);
	if (first->enabled != mapping->enabled || first->until != mapping->until ||
	    first->external != mapping->external || !same_except)
		return nb_scan_fail(scan, mapping->line,
				    "%s %u/%s differs from the same mapping in %s in \"%s\"; keep "
				    "one of them",
				    network, mapping->port, nb_protocol_name(mapping->protocol),
				    place,
				    first->enabled != mapping->enabled ? "enabled"
				    : first->until != mapping->until   ? "until"
				    : !same_except		       ? "except"
								       : "external");
	if (nb_mapping_list_append(&reading->rules->repeated, mapping))
		return out_of_memory(scan);
	if (reading->repetitions++ < NB_WARN_REPETITIONS)
		nb_warn(reading->warnings, "%s:%u: %s %u/%s is already in %s; one of them can go",
			reading->rules->files[parser->file].name, mapping->line, network,
			mapping->port, nb_protocol_name(mapping->protocol), place);
	return 0;
}

static int enter_mapping(struct nb_scan *scan, struct parser *parser)
{
	struct nb_rules_reading *reading = parser->reading;
	struct nb_mapping_list *list = &reading->rules->mappings;
	size_t first = nb_index_find(&reading->index, list, &parser->mapping);

	if (first != SIZE_MAX)
		return merge(scan, parser, &list->items[first]);
	if (nb_mapping_list_append(list, &parser->mapping))
		return out_of_memory(scan);
	if (nb_index_push(&reading->index, list)) {
		nb_mapping_clear(&list->items[--list->count]);
		return out_of_memory(scan);
	}
	reading->rules->files[parser->file].mappings++;
	return 0;
}

static int read_mapping(struct nb_scan *scan, unsigned int line, void *data)
{
	struct parser *parser = data;
	struct nb_mapping *mapping = &parser->mapping;
	struct nb_error inner;
	int r;

	*mapping = (struct nb_mapping){
		.protocol = IPPROTO_TCP,
		.target.address = INADDR_LOOPBACK,
		.enabled = true,
		.file = parser->file,
		.line = line,
		.place = (unsigned int)scan->index,
	};
	parser->mapping_seen = 0;
	if (!nb_scan_next_is(scan, NB_SCAN_OBJECT))
		return nb_scan_fail(scan, line,
				    "a mapping must be an object: { \"network\": ..., "
				    "\"port\": ... }");
	r = nb_scan_members(scan, read_member, parser);
	if (!r && !(parser->mapping_seen & 1u << KEY_NETWORK))
		r = nb_scan_fail(scan, line, "\"network\" is missing");
	if (!r && !(parser->mapping_seen & 1u << KEY_PORT))
		r = nb_scan_fail(scan, line, "\"port\" is missing");
	if (!r && nb_mapping_check_except(mapping, &inner))
		r = fail_from(scan, line, &inner);
	if (!r) {
		if (!mapping->target.port)
			mapping->target.port = mapping->port;
		r = enter_mapping(scan, parser);
	}
	nb_mapping_clear(mapping);
	return r;
}

static int read_file_member(struct nb_scan *scan, const char *key, unsigned int line, void *data)
{
	struct parser *parser = data;
	struct nb_rule_file *file = &parser->reading->rules->files[parser->file];
	struct nb_scan_value value = { 0 };
	size_t i;
	int r;

	r = nb_scan_key(scan, key, line, file_keys, FILE_KEYS, &parser->seen, &i);
	if (r)
		return r;
	if (i == KEY_MAPPINGS && nb_scan_next_is(scan, NB_SCAN_ARRAY))
		return nb_scan_elements(scan, read_mapping, parser);
	r = nb_scan_value(scan, &value);
	if (r)
		return r;
	if (i == KEY_MAPPINGS)
		return nb_scan_fail(scan, value.line, "is %s, but must be an array of mappings",
				    type_name(value.type));
	if (i == KEY_SCHEMA) {
		if (value.type != NB_SCAN_STRING)
			return nb_scan_fail(scan, value.line, "is %s, but must be a string",
					    type_name(value.type));
		file->schema = nb_scan_string(&value);
		return file->schema ? 0 : out_of_memory(scan);
	}
	if (value.type != NB_SCAN_NUMBER)
		return nb_scan_fail(scan, value.line, "is %s, but must be the number 1",
				    type_name(value.type));
	if (value.length != 1 || value.text[0] != '1')
		return nb_scan_fail(scan, value.line,
				    "%.*s is no version that this program reads; it reads 1",
				    shown(&value), value.text);
	return 0;
}

/* Take back what the file put into the lists. */
static void forget(struct nb_rules_reading *reading, size_t file, size_t mappings, size_t repeated)
{
	struct nb_rules *rules = reading->rules;

	while (rules->mappings.count > mappings) {
		nb_index_pop(&reading->index, &rules->mappings);
		nb_mapping_clear(&rules->mappings.items[--rules->mappings.count]);
	}
	while (rules->repeated.count > repeated)
		nb_mapping_clear(&rules->repeated.items[--rules->repeated.count]);
	free(rules->files[file].schema);
	rules->files[file].schema = NULL;
	rules->files[file].mappings = 0;
}

int nb_rules_parse(struct nb_rules_reading *reading, size_t file, const char *path,
		   const char *text, size_t length, struct nb_error *err)
{
	size_t mappings = reading->rules->mappings.count;
	size_t repeated = reading->rules->repeated.count;
	struct parser parser = { .reading = reading, .file = file };
	struct nb_scan scan;
	int r;

	r = nb_scan_begin(&scan, path, "rule-file", text, length, err);
	if (!r && !nb_scan_next_is(&scan, NB_SCAN_OBJECT))
		r = nb_scan_fail(&scan, scan.line,
				 "the file must be an object: { \"version\": 1, "
				 "\"mappings\": [ ... ] }");
	if (!r)
		r = nb_scan_members(&scan, read_file_member, &parser);
	if (!r)
		r = nb_scan_end(&scan);
	if (!r && !(parser.seen & 1u << KEY_MAPPINGS))
		r = nb_scan_fail(&scan, 1, "\"mappings\" is missing");
	if (r)
		forget(reading, file, mappings, repeated);
	return r;
}
