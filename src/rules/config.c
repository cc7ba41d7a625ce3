/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nat-bridge/engine.h"
#include "nat-bridge/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "parse.h"
#include "scan.h"

enum key { KEY_DOCKER, KEY_MARK, KEY_PODMAN, KEY_PODMAN_NETWORKS };

static const char *const keys[] = { "docker", "mark", "podman", "podman_networks" };

struct parser {
	unsigned int seen;
	struct nb_config config;
};

/* Plain decimal, or hexadecimal behind 0x; 1 to 0xffffffff. */
static bool parse_mark(const char *text, bool hexadecimal, uint32_t *ret)
{
	unsigned int base = 10;
	uint64_t value = 0;

	if (hexadecimal && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	} else if (text[0] == '0') {
		return false;
	}
	if (!*text)
		return false;
	for (; *text; text++) {
		unsigned int digit = 16;

		if (*text >= '0' && *text <= '9')
			digit = (unsigned int)(*text - '0');
		else if ((*text | 0x20) >= 'a' && (*text | 0x20) <= 'f')
			digit = (unsigned int)((*text | 0x20) - 'a') + 10;
		if (digit >= base)
			return false;
		value = base * value + digit;
		if (value > UINT32_MAX)
			return false;
	}
	*ret = (uint32_t)value;
	return value != 0;
}

static int read_mark(struct nb_scan *scan, const struct nb_scan_value *value, uint32_t *ret)
{
	bool string = value->type == NB_SCAN_STRING;
	char text[24] = "";

	if (!string && value->type != NB_SCAN_NUMBER)
		return nb_scan_fail(scan, value->line,
				    "must be a number, or a string such as \"0x10000000\"");
	if (value->length < sizeof(text) && !value->escaped)
		memcpy(text, value->text, value->length);
	if (!parse_mark(text, string, ret))
		return nb_scan_fail(scan, value->line,
				    "%.*s is no mark; write an integer in 1-4294967295, or a "
				    "string in \"0x1\" to \"0xffffffff\"",
				    value->length < 40 ? (int)value->length : 40, value->text);
	return 0;
}

/* Where an engine is: "unix:///run/docker.sock", or the path alone. */
static int read_path(struct nb_scan *scan, const struct nb_scan_value *value, bool socket,
		     char **ret)
{
	char *text = value->type == NB_SCAN_STRING ? nb_scan_string(value) : NULL;
	const char *path = text;
	char why[256];
	int r = 0;

	if (value->type != NB_SCAN_STRING)
		return nb_scan_fail(scan, value->line, "must be a string");
	if (!text)
		return nb_rules_out_of_memory(scan->err);
	if (socket && nb_engine_socket_parse(text, &path, why, sizeof(why)) < 0)
		r = nb_scan_fail(scan, value->line, "%s", why);
	else if (path[0] != '/')
		r = nb_scan_fail(scan, value->line, "\"%.80s\" does not begin with a slash", path);
	if (r == 0) {
		*ret = strdup(path);
		if (!*ret)
			r = nb_rules_out_of_memory(scan->err);
	}
	free(text);
	return r;
}

static int read_member(struct nb_scan *scan, const char *key, unsigned int line, void *data)
{
	struct parser *parser = data;
	struct nb_scan_value value = { 0 };
	size_t i;
	int r;

	r = nb_scan_key(scan, key, line, keys, sizeof(keys) / sizeof(keys[0]), &parser->seen, &i);
	if (!r)
		r = nb_scan_value(scan, &value);
	if (r)
		return r;
	switch ((enum key)i) {
	case KEY_DOCKER:
		return read_path(scan, &value, true, &parser->config.docker);
	case KEY_PODMAN:
		return read_path(scan, &value, true, &parser->config.podman);
	case KEY_PODMAN_NETWORKS:
		return read_path(scan, &value, false, &parser->config.podman_networks);
	case KEY_MARK:
		break;
	}
	return read_mark(scan, &value, &parser->config.mark);
}

int nb_config_read(const char *path, struct nb_config *ret, struct nb_error *err)
{
	struct nb_file_kind kind = { NB_STATUS_USAGE, "config" };
	struct parser parser = { .config.mark = NB_MARK_DEFAULT };
	struct nb_scan scan;
	size_t length;
	char *text;
	int r;

	r = nb_file_load(AT_FDCWD, path, kind, path, &text, &length, err);
	if (r == -ENOENT) {
		*ret = parser.config;
		return 0;
	}
	if (r)
		return r;
	r = nb_scan_begin(&scan, path, kind.code, text, length, err);
	if (!r && !nb_scan_next_is(&scan, NB_SCAN_OBJECT))
		r = nb_scan_fail(&scan, scan.line, "the configuration must be an object: { }");
	if (!r)
		r = nb_scan_members(&scan, read_member, &parser);
	if (!r)
		r = nb_scan_end(&scan);
	free(text);
	if (!r)
		*ret = parser.config;
	else
		nb_config_clear(&parser.config);
	return r;
}

void nb_config_clear(struct nb_config *config)
{
	free(config->docker);
	free(config->podman);
	free(config->podman_networks);
	config->docker = config->podman = config->podman_networks = NULL;
}
